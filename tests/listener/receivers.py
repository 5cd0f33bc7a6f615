from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.dispatch import receiver

from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import delivery_recorded


@receiver(delivery_recorded, sender=DeliveryEvent)
def note(event: DeliveryEvent, **kwargs: Any) -> None:
    """Do what the test asks for, then note the event."""
    exec(os.environ.get("BEFORE_NOTING", ""), {"event": event})
    with Path(os.environ["HEARD"]).open("a") as file:
        file.write(f"{event.zaap_id}\n")
