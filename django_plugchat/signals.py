from __future__ import annotations

from typing import Any

from django.dispatch import Signal


class _Signal(Signal):
    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        # Django asks for a name that partials and instances lack, and its error would keep the others from running.
        named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
        super()._log_robust_failure(named, err)  # type: ignore[misc]


#: provides args: event, the ``DeliveryEvent``; sender is ``DeliveryEvent``.
#: Sent after the event is committed, at least once and in no order: receivers must be idempotent. When one raises,
#: the others still run, and the event is tried again later, with all of them.
delivery_recorded = _Signal()
