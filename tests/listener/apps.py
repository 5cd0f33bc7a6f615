from django.apps import AppConfig


class ListenerConfig(AppConfig):
    name = "tests.listener"

    def ready(self) -> None:
        from tests.listener import receivers  # noqa: F401
