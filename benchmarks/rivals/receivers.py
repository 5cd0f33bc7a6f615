from typing import Any

from benchmarks.rivals.models import Tracking
from django_plugchat.signals import delivery_recorded


def store_tracking(event: Any, **kwargs: Any) -> None:
    Tracking.objects.get_or_create(
        message_id=event.message_id,
        event_type=event.event_type,
        defaults={
            "recipient": event.recipient,
            "timestamp": event.timestamp,
            "mta_response": event.mta_response or "",
            "payload": event.esp_event,
        },
    )


def trivial(event: Any, **kwargs: Any) -> None:
    pass


def connect() -> None:
    delivery_recorded.connect(trivial)


def disconnect() -> None:
    delivery_recorded.disconnect(trivial)
