"""Hands recorded events to the user's code: at least once, in no order, through any death in between.

A worker claims an event by one conditional UPDATE that moves its due time a lease ahead, before any receiver runs. So
nothing is taken twice at once, and what a worker leaves behind that dies becomes due again.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import Any, TypeGuard

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


_outcomes: ContextVar[dict[Any, Attempt]] = ContextVar("_outcomes")


@contextmanager
def outcomes() -> Iterator[dict[Any, Attempt]]:
    """Note how the attempts of this thread go meanwhile, by the event's key.

    A dispatcher returns nothing. This tells what it has run at once; what a queue's workers do it does not tell.
    """
    noted: dict[Any, Attempt] = {}
    token = _outcomes.set(noted)
    try:
        yield noted
    finally:
        _outcomes.reset(token)


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


def opening_state(is_claimed: Callable[[], bool]) -> dict[str, Any]:
    """The dispatch fields of an event about to be stored: claimed by the process that stores it, or pending."""
    # Another dispatcher's workers may have receivers that this process does not import.
    if uses_default_dispatcher() and not has_receivers():
        return {"dispatch_status": _Status.NONE.value, "dispatch_attempts": 0, "dispatch_due_at": None}
    claimed = is_claimed()
    return {
        "dispatch_status": (_Status.RUNNING if claimed else _Status.PENDING).value,
        "dispatch_attempts": int(claimed),
        "dispatch_due_at": timezone.now() + lease(),
    }


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
        _attempt(event)
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
    event = _claim(pk)
    return _attempt(event) if event else Attempt.NOTHING


def _claim(pk: Any) -> DeliveryEvent | None:
    now = timezone.now()
    lease_end = now + lease()
    row = _events().filter(pk=pk)
    claimed = (
        row.unfinished()
        .filter(
            Q(dispatch_status=_Status.PENDING) | Q(dispatch_due_at__lte=now),
            dispatch_attempts__lt=app_settings.dispatch_max_attempts,
        )
        .update(
            dispatch_status=_Status.RUNNING, dispatch_attempts=F("dispatch_attempts") + 1, dispatch_due_at=lease_end
        )
    )
    if not claimed:
        exhaust(row)
        return None
    return next(iter(statements.fetch(row.filter(dispatch_due_at=lease_end))), None)


def exhaust(rows: DeliveryEventQuerySet) -> int:
    """Give up what is due and has no attempt left: whoever made the last one died."""
    return (
        rows.due()
        .filter(dispatch_attempts__gte=app_settings.dispatch_max_attempts)
        .update(dispatch_status=_Status.EXHAUSTED, dispatch_due_at=None, dispatch_error="The last attempt did not end.")
    )


def _attempt(event: DeliveryEvent) -> Attempt:
    """Tell all receivers of an event that this process has claimed, and write down how it went."""
    alias = _events().db
    # Receivers may change the object.
    pk, number, lease_end = event.pk, event.dispatch_attempts, event.dispatch_due_at
    failures: list[tuple[Any, BaseException]]
    with statements.savepoint(alias):
        try:
            results = delivery_recorded.send_robust(sender=DeliveryEvent, event=event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # SystemExit, CancelledError, gevent's Timeout: the signal lets them through, and tells nobody else.
            failures = [("a receiver", error)]
        else:
            failures = [(receiver_name(who), result) for who, result in results if isinstance(result, Exception)]
        connection = connections[alias]
        if failures and connection.in_atomic_block and not connection.is_usable():
            # A failed statement of a receiver has broken the transaction around us (PostgreSQL): undo to the savepoint.
            transaction.set_rollback(True, using=alias)
    errors = [error for _receiver, error in failures]
    is_last = number >= app_settings.dispatch_max_attempts
    now = timezone.now()
    changes: dict[str, Any]
    if failures:
        changes = {
            "dispatch_status": (_Status.EXHAUSTED if is_last else _Status.RETRYING).value,
            "dispatch_due_at": None if is_last else now + _pause(number, errors),
            "dispatch_error": "\n".join(f"{who}: {type(error).__name__}" for who, error in failures),
        }
    else:
        changes = {
            "dispatch_status": _Status.DONE.value,
            "dispatch_due_at": None,
            "dispatched_at": now,
            "dispatch_error": "",
        }
    # Where another worker has taken the event over meanwhile, its outcome counts: the end of the lease tells. But where
    # a sweep thought this attempt dead, and gave the event up or handed it over to a worker that has not begun, it was
    # not.
    for condition in (
        {"dispatch_status": _Status.RUNNING.value, "dispatch_due_at": lease_end},
        {"dispatch_status": _Status.EXHAUSTED.value, "dispatch_attempts": number},
        {"dispatch_status": _Status.PENDING.value, "dispatch_attempts": number},
    ):
        # A connection may have died while receivers ran.
        write = partial(statements.update, DeliveryEvent, alias, changes, {"pk": pk, **condition})
        if statements.trying_again(alias, write):
            for name, value in changes.items():
                setattr(event, name, value)
            break
    if not failures:
        outcome = Attempt.DONE
    else:
        outcome = Attempt.FAILED if is_last or not _ask_to_be_told_again(errors) else Attempt.AGAIN
    _outcomes.get({})[pk] = outcome
    return outcome


def _ask_to_be_told_again(errors: list[BaseException]) -> TypeGuard[list[TellAgain]]:
    return all(isinstance(error, TellAgain) for error in errors)


def _pause(attempts: int, errors: list[BaseException]) -> timedelta:
    """Before the next attempt: a lease, then twice as long each time; or what all that failed ask for."""
    if _ask_to_be_told_again(errors):
        return timedelta(seconds=min(error.seconds for error in errors))
    return min(min(lease(), _LONGEST_PAUSE) * (1 << min(attempts - 1, 20)), _LONGEST_PAUSE)
