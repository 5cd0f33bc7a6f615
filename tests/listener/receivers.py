from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from django.dispatch import receiver

from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import delivery_recorded


@receiver(delivery_recorded, sender=DeliveryEvent)
def note(event: DeliveryEvent, **kwargs: Any) -> None:
    """Note the event; die in the middle, once, of one that asks for it."""
    heard = Path(os.environ["HEARD"])
    if event.payload.get("fatal") and event.dispatch_attempts == 1:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    with heard.open("a") as file:
        file.write(f"{event.zaap_id}\n")
