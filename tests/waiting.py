"""Events that wait for the user's code, and the moments at which they are due."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from django_plugchat.models import DeliveryEvent

from .rows import Status, event


def ago(**duration: float) -> datetime:
    return timezone.now() - timedelta(**duration)


def ahead(**duration: float) -> datetime:
    return timezone.now() + timedelta(**duration)


def due(**fields: Any) -> DeliveryEvent:
    """An event that may be taken now: pending for longer than a lease, unless the fields say otherwise."""
    return event(**{"dispatch_status": Status.PENDING, "dispatch_due_at": ago(seconds=1)} | fields)


def make_due(**changes: Any) -> None:
    """Let the lease or the pause of all events end."""
    DeliveryEvent.objects.update(dispatch_due_at=ago(seconds=1), **changes)


def stored() -> DeliveryEvent:
    return DeliveryEvent.objects.get()


def states() -> list[str]:
    """The dispatch statuses of all events, in the order in which they were stored."""
    return list(DeliveryEvent.objects.order_by("pk").values_list("dispatch_status", flat=True))
