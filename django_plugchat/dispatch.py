"""Hands recorded events to the user's code: at least once, in no order, through any death in between.

A worker claims an event by one conditional UPDATE that moves its due time a lease ahead, before any receiver runs. So
nothing is taken twice at once, and what a worker leaves behind that dies becomes due again.
"""

import enum
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from django.db import connections, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.module_loading import import_string

from django_plugchat import statements
from django_plugchat.conf import DEFAULTS, app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.querysets import DeliveryEventQuerySet
from django_plugchat.signals import TellAgain, delivery_recorded, receiver_name

logger = logging.getLogger(__name__)

_Status = DeliveryEvent.DispatchStatus
_LONGEST_PAUSE = timedelta(days=1)


class Attempt(enum.Enum):
    """How an attempt went."""

    DONE = "done"  # all receivers took the event
    FAILED = "failed"  # a receiver raised; the event says which, and what
    AGAIN = "again"  # a receiver raised TellAgain, and none anything else
    NOTHING = "nothing"  # nothing to do: done, exhausted, deleted, another worker's, not due, no receiver here


def _events() -> DeliveryEventQuerySet:
    return DeliveryEvent.objects.for_writing()


def lease() -> timedelta:
    return timedelta(seconds=app_settings.dispatch_lease)


def has_receivers() -> bool:
    """Whether this process would hear of an event."""
    return delivery_recorded.has_listeners(DeliveryEvent)


def uses_default_dispatcher() -> bool:
    default: str = DEFAULTS["DISPATCHER"]
    return app_settings.dispatcher == default


def opening_fields(*, is_claimed: bool, is_due_at_once: bool) -> dict[str, Any]:
    """The dispatch fields of an event about to be stored: claimed by this process, pending, or heard by nobody."""
    status, attempts, due_at = _Status.NONE, 0, None
    # Another dispatcher's workers may have receivers that this process does not import.
    if has_receivers() or not uses_default_dispatcher():
        status, attempts = (_Status.RUNNING, 1) if is_claimed else (_Status.PENDING, 0)
        due_at = timezone.now() if is_due_at_once else timezone.now() + lease()
    return {
        "dispatch_status": status.value,
        "dispatch_attempts": attempts,
        "dispatch_due_at": due_at,
        "dispatched_at": None,
        "dispatch_error": "",
        "dispatch_failed": False,
    }


# Handing over


def hand_over(pk: Any) -> bool:
    """Call the configured dispatcher. Returns False, and logs why, when it fails: a sweep takes the event later."""
    try:
        import_string(app_settings.dispatcher)(pk)
    except (Exception, SystemExit) as error:
        _leave_to_the_sweep(pk, "The dispatcher", error)
        return False
    return True


def _leave_to_the_sweep(pk: Any, what_failed: str, error: BaseException) -> None:
    # The class alone: the text of somebody else's exception may hold anything.
    logger.error("%s failed with %s; plugchat_redispatch takes event %s later.", what_failed, type(error).__name__, pk)


def attempt_at_once(event: DeliveryEvent) -> None:
    """Attempt an event that was stored as claimed. Whatever fails changes nothing for who stored it."""
    pk = event.pk
    try:
        _attempt(_Claim.of(event))
    except Exception as error:
        _leave_to_the_sweep(pk, "The attempt", error)


def deliver(pk: Any) -> Attempt:
    """One attempt now to tell all receivers of an event: what a worker calls."""
    if not has_receivers():
        logger.error(
            "No receiver of delivery_recorded is connected in this process: event %s is left for one that has. "
            "Import your receivers in an AppConfig.ready().",
            pk,
        )
        return Attempt.NOTHING
    claim = _take(pk)
    return _attempt(claim) if claim else Attempt.NOTHING


def exhaust(rows: DeliveryEventQuerySet) -> int:
    """Give up what is due and has no attempt left: whoever made the last one died."""
    given_up = partial(
        rows.due().filter(dispatch_attempts__gte=app_settings.dispatch_max_attempts).update,
        dispatch_status=_Status.EXHAUSTED,
        dispatch_due_at=None,
        dispatch_failed=True,
        dispatch_error="The last attempt did not end.",
    )
    return statements.trying_again(rows.db, given_up)


# An attempt: take, tell, judge, write


@dataclass
class _Claim:
    """An event that this process has claimed, with what it was then: receivers may change the object."""

    event: DeliveryEvent
    pk: Any
    number: int
    lease_end: datetime | None

    @classmethod
    def of(cls, event: DeliveryEvent) -> Self:
        return cls(event, event.pk, event.dispatch_attempts, event.dispatch_due_at)

    def still_ours(self) -> list[dict[str, Any]]:
        """What the row looks like while the outcome of this attempt counts.

        Another worker that has taken the event over meanwhile has moved the end of the lease. A sweep that thought this
        attempt dead, and gave the event up or handed it to a worker that has not begun, was wrong.
        """
        return [
            {"dispatch_status": _Status.RUNNING.value, "dispatch_due_at": self.lease_end},
            {"dispatch_status": _Status.EXHAUSTED.value, "dispatch_attempts": self.number},
            {"dispatch_status": _Status.PENDING.value, "dispatch_attempts": self.number},
        ]


def _attempt(claim: _Claim) -> Attempt:
    attempt, changes = _judge(claim.number, _tell(claim.event))
    _write(claim, changes)
    return attempt


def _take(pk: Any) -> _Claim | None:
    now = timezone.now()
    lease_end = now + lease()
    row = _events().filter(pk=pk)
    claimable = row.unfinished().filter(
        Q(dispatch_status=_Status.PENDING) | Q(dispatch_due_at__lte=now),
        dispatch_attempts__lt=app_settings.dispatch_max_attempts,
    )
    claim = partial(
        claimable.update,
        dispatch_status=_Status.RUNNING,
        dispatch_attempts=F("dispatch_attempts") + 1,
        dispatch_due_at=lease_end,
    )
    if not statements.trying_again(row.db, claim):
        exhaust(row)
        return None
    event = next(iter(statements.fetch(row.filter(dispatch_due_at=lease_end))), None)
    return _Claim.of(event) if event else None


def _tell(event: DeliveryEvent) -> list[tuple[str, BaseException]]:
    """Call all receivers. Returns the names of those that raised, and what."""
    alias = _events().db
    with statements.savepoint(alias):
        try:
            results = delivery_recorded.send_robust(sender=DeliveryEvent, event=event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # SystemExit, CancelledError, gevent's Timeout: the signal lets them through, and tells nobody else.
            raised: list[tuple[str, BaseException]] = [("a receiver", error)]
        else:
            raised = [(receiver_name(who), result) for who, result in results if isinstance(result, Exception)]
        connection = connections[alias]
        if raised and connection.in_atomic_block and not connection.is_usable():
            # A failed statement of a receiver has broken the transaction around us (PostgreSQL): undo to the savepoint.
            transaction.set_rollback(True, using=alias)
    return raised


def _judge(number: int, raised: list[tuple[str, BaseException]]) -> tuple[Attempt, dict[str, Any]]:
    """How an attempt went, the ``number``-th of its event, by what receivers raised; and what that changes."""
    now = timezone.now()
    if not raised:
        done = {"dispatch_status": _Status.DONE.value, "dispatch_due_at": None, "dispatched_at": now}
        return Attempt.DONE, done | {"dispatch_failed": False, "dispatch_error": ""}
    # Whoever asks to be told again has not failed.
    failures = [(who, error) for who, error in raised if not isinstance(error, TellAgain)]
    asked = [error.seconds for _who, error in raised if isinstance(error, TellAgain)]
    pause = _pause(number) if failures else timedelta(seconds=min(asked))
    is_last = number >= app_settings.dispatch_max_attempts
    has_failed = is_last or bool(failures)
    return Attempt.FAILED if has_failed else Attempt.AGAIN, {
        "dispatch_status": (_Status.EXHAUSTED if is_last else _Status.RETRYING).value,
        "dispatch_due_at": None if is_last else now + pause,
        "dispatch_failed": has_failed,
        "dispatch_error": "\n".join(f"{who}: {type(error).__name__}" for who, error in raised),
    }


def _pause(attempts: int) -> timedelta:
    """After a failure: a lease, then twice as long each time."""
    return min(min(lease(), _LONGEST_PAUSE) * (1 << min(attempts - 1, 20)), _LONGEST_PAUSE)


def _write(claim: _Claim, changes: dict[str, Any]) -> None:
    alias = _events().db
    for condition in claim.still_ours():
        # A connection may have died while receivers ran.
        write = partial(statements.update, DeliveryEvent, alias, changes, {"pk": claim.pk, **condition})
        if statements.trying_again(alias, write):
            for name, value in changes.items():
                setattr(claim.event, name, value)
            return
