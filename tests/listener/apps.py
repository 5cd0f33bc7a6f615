from django.apps import AppConfig


class ListenerConfig(AppConfig):
    """Connects ``tests.receivers.note`` in the processes that tests start."""

    name = "tests.listener"

    def ready(self) -> None:
        from django_plugchat.models import DeliveryEvent
        from django_plugchat.signals import delivery_recorded
        from tests.receivers import note

        delivery_recorded.connect(note, sender=DeliveryEvent)
