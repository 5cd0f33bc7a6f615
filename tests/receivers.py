"""The user's code that hears of events: in a test, and in processes of their own."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import delivery_recorded

ALWAYS = sys.maxsize


class Receiver:
    """Remembers what it heard, does what the test asks for, and raises an error as often as it is told to."""

    def __init__(
        self, raises: BaseException | None = None, times: int = ALWAYS, does: Callable[[DeliveryEvent], Any] = id
    ) -> None:
        self.heard: list[DeliveryEvent] = []
        self.raises, self.times, self.does = raises, times, does

    def __call__(self, sender: type[DeliveryEvent], event: DeliveryEvent, **kwargs: Any) -> None:
        self.heard.append(event)
        self.does(event)
        if self.raises and self.times:
            self.times -= 1
            raise self.raises.with_traceback(None)  # without the frames of the times before


def failing(times: int = ALWAYS) -> Receiver:
    """A receiver whose error quotes what no log may show."""
    return Receiver(ValueError("554499999999"), times)


@contextmanager
def connected(*receivers: Any) -> Iterator[None]:
    """Connect receivers until the block ends."""
    for receiver in receivers:
        delivery_recorded.connect(receiver, sender=DeliveryEvent)
    try:
        yield
    finally:
        for receiver in receivers:
            delivery_recorded.disconnect(receiver, sender=DeliveryEvent)


def _kill_the_first_time(event: DeliveryEvent) -> None:
    is_fatal = event.payload.get("fatal") and event.dispatch_attempts == 1
    # Signal 0 does nothing.
    os.kill(os.getpid(), signal.SIGKILL if is_fatal else 0)


def _raise_the_first_time(event: DeliveryEvent) -> None:
    if event.dispatch_attempts == 1:
        raise ValueError(event.phone)


def _take_long(event: DeliveryEvent) -> None:
    time.sleep(0.05)


_BEHAVIOURS: dict[str, Callable[[DeliveryEvent], Any]] = {
    "takes it": id,
    "kills its process the first time": _kill_the_first_time,
    "raises the first time": _raise_the_first_time,
    "takes long": _take_long,
}


def note(event: DeliveryEvent, **kwargs: Any) -> None:
    """What ``tests.listener`` connects: does what RECEIVER says, then writes the event's zaapId to the file HEARD."""
    _BEHAVIOURS[os.environ.get("RECEIVER", "takes it")](event)
    with Path(os.environ["HEARD"]).open("a") as file:
        file.write(f"{event.zaap_id}\n")


def heard(path: Path) -> list[str]:
    """What processes have written to their file HEARD."""
    return path.read_text().split() if path.exists() else []
