"""Hands recorded events to the user's code: at least once, in no order, through any death in between.

A worker claims an event by one conditional UPDATE that moves its due time a lease ahead, before any receiver runs. So
nothing is taken twice at once, and what a worker leaves behind that dies becomes due again.
"""

import enum
import logging
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import connections, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.module_loading import import_string

from django_plugchat import statements
from django_plugchat.conf import Configured, app_settings
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


def events() -> DeliveryEventQuerySet:
    return DeliveryEvent.objects.for_writing()


def lease() -> timedelta:
    return timedelta(seconds=app_settings.dispatch_lease)


def has_receivers() -> bool:
    """Whether this process would hear of an event."""
    return delivery_recorded.has_listeners(DeliveryEvent)


def uses_default_dispatcher() -> bool:
    return app_settings.dispatcher == Configured.dispatcher


def hand_over(pk: Any, claimed: DeliveryEvent | None = None) -> bool:
    """Call the dispatcher, or attempt what was stored as claimed. False where that fails: a sweep takes it later."""
    try:
        if claimed:
            _attempt(claimed)
        else:
            import_string(app_settings.dispatcher)(pk)
    except (Exception, SystemExit) as error:
        # The class alone: the text of somebody else's exception may hold anything.
        name = type(error).__name__
        logger.error("Dispatching event %s failed with %s; plugchat_redispatch takes it later.", pk, name)
        return False
    return True


def deliver(pk: Any) -> Attempt:
    """One attempt now to tell all receivers of an event: what a worker calls."""
    if not has_receivers():
        logger.error(
            "No receiver is connected here: event %s is left as it is. Import yours in an AppConfig.ready().", pk
        )
        return Attempt.NOTHING
    event = _take(pk)
    return _attempt(event) if event else Attempt.NOTHING


# An attempt: take, tell, judge, write


def _attempt(event: DeliveryEvent) -> Attempt:
    # As it is now: receivers may change the object. A sweep that thinks this attempt dead changes one of these.
    ours = {"id": event.pk, "dispatch_status": _Status.RUNNING.value, "dispatch_due_at": event.dispatch_due_at}
    number = event.dispatch_attempts
    attempt, changes = _judge(number, _tell(event))
    alias = events().db
    # A connection may have died while receivers ran.
    statements.trying_again(alias, partial(statements.update, alias, changes, ours))
    return attempt


def _take(pk: Any) -> DeliveryEvent | None:
    now = timezone.now()
    lease_end = now + lease()
    row = events().filter(pk=pk)
    claimable = row.unfinished().filter(
        Q(dispatch_status=_Status.PENDING) | Q(dispatch_due_at__lte=now),
        dispatch_attempts__lt=app_settings.dispatch_max_attempts,
    )
    if not statements.change(
        claimable,
        dispatch_status=_Status.RUNNING,
        dispatch_attempts=F("dispatch_attempts") + 1,
        dispatch_due_at=lease_end,
    ):
        return None
    # Asked of the database itself: a package that a project uses may cache querysets.
    sql, params = row.filter(dispatch_due_at=lease_end).query.get_compiler(using=row.db).as_sql()
    return next(iter(row.raw(sql, params)), None)


def _tell(event: DeliveryEvent) -> list[tuple[str, BaseException]]:
    """Call all receivers. Returns the names of those that raised, and what."""
    alias = events().db
    with statements.savepoint(alias):
        try:
            results = delivery_recorded.send_robust(sender=DeliveryEvent, event=event)
            raised = [(receiver_name(who), result) for who, result in results if isinstance(result, BaseException)]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # SystemExit, CancelledError, gevent's Timeout: the signal lets them through, and tells nobody else.
            raised = [("a receiver", error)]
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
    # Whoever asks to be told again has not failed. The pause after a failure is a lease, and doubles each time.
    asked = [error.seconds for _who, error in raised if isinstance(error, TellAgain)]
    all_asked = len(asked) == len(raised)
    doubled = min(lease(), _LONGEST_PAUSE) * (1 << min(number - 1, 20))
    pause = timedelta(seconds=min(asked)) if all_asked else min(doubled, _LONGEST_PAUSE)
    is_last = number >= app_settings.dispatch_max_attempts
    has_failed = is_last or not all_asked
    return Attempt.FAILED if has_failed else Attempt.AGAIN, {
        "dispatch_status": (_Status.EXHAUSTED if is_last else _Status.RETRYING).value,
        "dispatch_due_at": None if is_last else now + pause,
        "dispatch_failed": has_failed,
        "dispatch_error": "\n".join(f"{who}: {type(error).__name__}" for who, error in raised),
    }
