from __future__ import annotations

import logging
import traceback
from typing import Any

from django.dispatch import Signal

logger = logging.getLogger(__name__)


def receiver_name(receiver: Any) -> str:
    """Also of partials and instances, which have no name of their own."""
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"


class _Signal(Signal):
    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        # Django's record would quote the error's text, which may hold the number; and it fails for receivers without
        # a name, which keeps the others from running.
        where = "".join(traceback.format_tb(err.__traceback__))
        logger.error("%s raised %s:\n%s", receiver_name(receiver), type(err).__name__, where)


#: provides args: event, the ``DeliveryEvent``; sender is ``DeliveryEvent``.
#: Sent after the event is committed, at least once and in no order: receivers must be idempotent. When one raises,
#: the others still run, and the event is tried again later, with all of them.
delivery_recorded = _Signal()
