"""Hands recorded events to the user's code: at least once, in no order, through any death in between.

A worker claims an event by one conditional UPDATE that moves its due time a lease ahead, before any receiver runs. So
nothing is taken twice at once, and what a worker leaves behind that dies becomes due again.
"""

from __future__ import annotations

import enum
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, TypeGuard

from django.db import transaction
from django.db.models import F, Min, Q
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
_LONGEST_WAIT_IN_A_QUEUE = timedelta(hours=1)
_BATCH = 500
#: Events of one account that a sweep takes before it is the next account's turn.
_TURN = 50
_REFUSALS_IN_A_ROW = 10


class Attempt(enum.Enum):
    """How an attempt went."""

    DONE = "done"  # all receivers took the event
    FAILED = "failed"  # a receiver raised; the event says which, and what
    AGAIN = "again"  # a receiver raised TellAgain, and none anything else
    NOTHING = "nothing"  # nothing to do: done, exhausted, deleted, another worker's, not due, no receiver here


def _events() -> DeliveryEventQuerySet:
    return DeliveryEvent.objects.for_writing()


def _lease() -> timedelta:
    return timedelta(seconds=app_settings.dispatch_lease)


def has_receivers() -> bool:
    """Whether this process would hear of an event."""
    return delivery_recorded.has_listeners(DeliveryEvent)


def uses_default_dispatcher() -> bool:
    default: str = DEFAULTS["DISPATCHER"]
    return app_settings.dispatcher == default


def opening_state(now: datetime, *, claimed: bool) -> dict[str, Any]:
    """The dispatch fields of an event about to be stored; ``claimed`` by the process that stores it, or pending."""
    # Another dispatcher's workers may have receivers that this process does not import.
    if uses_default_dispatcher() and not has_receivers():
        return {"dispatch_status": _Status.NONE.value, "dispatch_attempts": 0, "dispatch_due_at": None}
    return {
        "dispatch_status": (_Status.RUNNING if claimed else _Status.PENDING).value,
        "dispatch_attempts": int(claimed),
        "dispatch_due_at": now + _lease(),
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
    except (Exception, SystemExit) as error:
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
    lease_end = now + _lease()
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
        _exhaust(row)
        return None
    return next(iter(statements.fetch(row.filter(dispatch_due_at=lease_end))), None)


def _exhaust(rows: DeliveryEventQuerySet) -> int:
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
    with statements.savepoint(alias):
        results = delivery_recorded.send_robust(sender=DeliveryEvent, event=event)
    failures = [(receiver, result) for receiver, result in results if isinstance(result, Exception)]
    errors = [error for _receiver, error in failures]
    is_last = number >= app_settings.dispatch_max_attempts
    now = timezone.now()
    changes: dict[str, Any]
    if failures:
        changes = {
            "dispatch_status": (_Status.EXHAUSTED if is_last else _Status.RETRYING).value,
            "dispatch_due_at": None if is_last else now + _pause(number, errors),
            "dispatch_error": "\n".join(f"{receiver_name(who)}: {type(error).__name__}" for who, error in failures),
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
        return Attempt.DONE
    return Attempt.FAILED if is_last or not _ask_to_be_told_again(errors) else Attempt.AGAIN


def _ask_to_be_told_again(errors: list[Exception]) -> TypeGuard[list[TellAgain]]:
    return all(isinstance(error, TellAgain) for error in errors)


def _pause(attempts: int, errors: list[Exception]) -> timedelta:
    """Before the next attempt: a lease, then twice as long each time; or what all that failed ask for."""
    if _ask_to_be_told_again(errors):
        return timedelta(seconds=min(error.seconds for error in errors))
    return min(min(_lease(), _LONGEST_PAUSE) * (1 << min(attempts - 1, 20)), _LONGEST_PAUSE)


@dataclass
class Sweep:
    """What a sweep did, in events."""

    #: Handed to the dispatcher, or attempted inline.
    taken: int = 0
    #: The dispatcher failed: they stay due.
    refused: int = 0
    #: Of those taken, as far as known when the sweep ended.
    done: int = 0
    failed: int = 0
    #: Found due with no attempt left, and given up.
    exhausted: int = 0
    #: Still due: for a later sweep.
    left: int = 0
    #: Waiting for the pause after a failed attempt to end, and when the first of them does.
    waiting: int = 0
    next_due_at: datetime | None = None


def sweep(
    *, limit: int | None = None, inline: bool = False, now: bool = False, none_since: datetime | None = None
) -> Sweep:
    """Hand what is due to the dispatcher, accounts in turns; ``inline`` attempts it here and now instead.

    ``now`` first ends the pauses after failed attempts, ``none_since`` also takes what was stored since then while no
    receiver was connected. At most ``limit`` events. Sweeps may overlap: none hands over what another has, nor, for as
    long again as it has been waiting, what an earlier one has put into a queue.
    """
    swept = Sweep()
    moment = timezone.now()
    if now:
        # What fails again gets a pause that ends later than this moment: none is tried twice.
        _retrying().filter(dispatch_due_at__gt=moment).update(dispatch_due_at=moment)
    waiting = _events().filter(dispatch_due_at__lte=moment)
    without_attempts = waiting.filter(dispatch_attempts__gte=app_settings.dispatch_max_attempts)
    while pks := list(without_attempts.values_list("pk", flat=True)[:_BATCH]):
        swept.exhausted += _exhaust(_events().filter(pk__in=pks))
    unheard = _events().none()
    if none_since is not None:
        unheard = _events().filter(dispatch_status=_Status.NONE, received_at__gte=none_since)
    _Sweeper(swept, limit=limit, inline=inline).take(_in_turns(waiting, unheard))
    swept.left = _events().due().count() + unheard.count()
    retrying = _retrying().filter(dispatch_due_at__gt=timezone.now())
    swept.waiting = retrying.count()
    swept.next_due_at = retrying.aggregate(first=Min("dispatch_due_at"))["first"]
    return swept


def _retrying() -> DeliveryEventQuerySet:
    return _events().filter(dispatch_status=_Status.RETRYING)


def _in_turns(waiting: DeliveryEventQuerySet, unheard: DeliveryEventQuerySet) -> Iterator[DeliveryEvent]:
    """The events of all accounts, oldest first, a batch of one account after a batch of another."""
    needed = ("received_at", "dispatch_due_at", "dispatch_status", "dispatch_attempts")
    accounts = {
        alias for rows in (waiting, unheard) for alias in rows.order_by().values_list("account", flat=True).distinct()
    }
    turns = deque(
        chain(
            waiting.for_account(alias).only(*needed).in_batches(_TURN, by="dispatch_due_at"),
            unheard.for_account(alias).only(*needed).in_batches(_TURN, by="received_at"),
        )
        for alias in sorted(accounts)
    )
    while turns:
        batches = turns.popleft()
        if batch := next(batches, None):
            yield from batch
            turns.append(batches)


class _Sweeper:
    """Takes events one by one and counts what became of them."""

    def __init__(self, swept: Sweep, *, limit: int | None, inline: bool) -> None:
        self.swept, self.limit, self.inline = swept, limit, inline
        self.handed_over: dict[Any, int] = {}

    def take(self, events: Iterator[DeliveryEvent]) -> None:
        refused_in_a_row = 0
        for event in events:
            # A dispatcher that is down may take its whole timeout to say so, for each of a million events.
            if self.swept.taken == self.limit or refused_in_a_row == _REFUSALS_IN_A_ROW:
                break
            if self.inline:
                self._attempt(event)
            elif due_at := self._reserve(event):
                if hand_over(event.pk):
                    refused_in_a_row = 0
                    self.swept.taken += 1
                    self.handed_over[event.pk] = event.dispatch_attempts
                    if len(self.handed_over) == _BATCH:
                        self._count_outcomes()
                else:
                    refused_in_a_row += 1
                    self.swept.refused += 1
                    _events().filter(pk=event.pk, dispatch_due_at=due_at).update(dispatch_due_at=timezone.now())
        if self.handed_over:
            self._count_outcomes()

    def _attempt(self, event: DeliveryEvent) -> None:
        if event.dispatch_status == _Status.NONE:
            _events().filter(pk=event.pk, dispatch_status=_Status.NONE).update(
                dispatch_status=_Status.PENDING, dispatch_due_at=timezone.now()
            )
        try:
            outcome = deliver(event.pk)
        except SystemExit as error:
            # A receiver's. It would end each sweep at the same event.
            _leave_to_the_sweep(event.pk, "The attempt", error)
            outcome = Attempt.FAILED
        self.swept.taken += outcome is not Attempt.NOTHING
        self.swept.done += outcome is Attempt.DONE
        self.swept.failed += outcome is Attempt.FAILED

    def _reserve(self, event: DeliveryEvent) -> datetime | None:
        """Make an event pending for a worker; None where another sweep or a worker has it."""
        now = timezone.now()
        # A queue with hours of backlog is not filled again every minute: each time the event gets as long again.
        due_at = now + max(_lease(), min(now - event.received_at, _LONGEST_WAIT_IN_A_QUEUE))
        row = _events().filter(
            pk=event.pk, dispatch_status=event.dispatch_status, dispatch_due_at=event.dispatch_due_at
        )
        return due_at if row.update(dispatch_status=_Status.PENDING, dispatch_due_at=due_at) else None

    def _count_outcomes(self) -> None:
        """A queue tells none, but a backend that runs at once has them already."""
        rows = _events().filter(pk__in=list(self.handed_over)).only("dispatch_status", "dispatch_attempts")
        for event in statements.fetch(rows):
            if event.dispatch_attempts > self.handed_over[event.pk]:
                self.swept.done += event.dispatch_status == _Status.DONE
                self.swept.failed += event.dispatch_status in (_Status.RETRYING, _Status.EXHAUSTED)
        self.handed_over.clear()


def start_over(queryset: DeliveryEventQuerySet) -> int:
    """Have these events told again, whatever became of them: all but those being tried at this moment.

    Returns how many. Those that the dispatcher does not take are due, for the next sweep.
    """
    events = queryset.for_writing()
    pks: list[Any] = []
    taken = 0
    for batch in events.only("pk").in_batches(_BATCH):
        now = timezone.now()
        being_tried = Q(dispatch_status=_Status.RUNNING, dispatch_due_at__gt=now)
        taken += (
            _events()
            .filter(~being_tried, pk__in=[event.pk for event in batch])
            .update(
                dispatch_status=_Status.PENDING,
                dispatch_attempts=0,
                dispatch_due_at=now,
                dispatched_at=None,
                dispatch_error="",
            )
        )
        pks += [event.pk for event in batch]
    transaction.on_commit(partial(_hand_over_all, pks), using=events.db, robust=True)
    return taken


def _hand_over_all(pks: list[Any]) -> None:
    # A dispatcher that is down may take its whole timeout to say so, for each of them.
    refused_in_a_row = 0
    for pk in pks:
        refused_in_a_row = 0 if hand_over(pk) else refused_in_a_row + 1
        if refused_in_a_row == _REFUSALS_IN_A_ROW:
            break
