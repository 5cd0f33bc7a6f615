import logging
import traceback
from typing import Any

from django.dispatch import Signal

logger = logging.getLogger(__name__)

_TEN_YEARS = 10 * 365 * 24 * 60 * 60  # seconds


class TellAgain(Exception):  # noqa: N818
    """Raised by a receiver that can't use an event yet: its own row is not saved, another service is away.

    The event is told again, to all receivers, after ``seconds``. It counts as an attempt, and is logged as no error.
    """

    #: Of a subclass with an ``__init__`` of its own, too.
    seconds: float = 60

    def __init__(self, seconds: float = 60) -> None:
        super().__init__(seconds)
        # A mistake is noticed here, where the traceback leads to the receiver. NaN compares as False.
        if not seconds <= _TEN_YEARS:
            raise ValueError("seconds must be a number, and ten years at most.")
        self.seconds = max(seconds, 0)


def receiver_name(receiver: Any) -> str:
    """Also of partials and instances, which have no name of their own."""
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"


class _Signal(Signal):
    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        if isinstance(err, TellAgain):
            logger.info("%s asks to be told again in %s seconds.", receiver_name(receiver), err.seconds)
            return
        # Django's record would quote the error's text, which may hold a number; and it fails for receivers without a
        # name, which keeps the others from running.
        where = "".join(traceback.format_tb(err.__traceback__))
        logger.error("%s raised %s:\n%s", receiver_name(receiver), type(err).__name__, where)


#: provides args: event, the ``DeliveryEvent``; sender is ``DeliveryEvent``.
#: Sent after the event is committed, at least once and in no order: receivers must be idempotent. When one raises,
#: the others still run, and the event is tried again later, with all of them.
delivery_recorded = _Signal()

#: provides args: connection, the ``Connection``; sender is ``Connection``.
#: Sent after a change of ``is_connected`` is committed, and not repeated where a receiver raises.
connection_changed = _Signal()
