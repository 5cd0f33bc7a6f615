"""What comes after the first try: taking what is due, and starting over on request."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

from django.db import transaction
from django.db.models import Min, Q
from django.utils import timezone

from django_plugchat import dispatch, tasks
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.querysets import DeliveryEventQuerySet

_Status = DeliveryEvent.DispatchStatus
_LONGEST_WAIT_IN_A_QUEUE = timedelta(hours=1)
_BATCH = 500
#: Events of one account that a sweep takes before it is the next account's turn.
_TURN = 50
_REFUSALS_IN_A_ROW = 10


def _events() -> DeliveryEventQuerySet:
    return DeliveryEvent.objects.for_writing()


@dataclass
class Sweep:
    """What a sweep did, in events."""

    #: Handed to the dispatcher, or attempted inline.
    taken: int = 0
    #: The dispatcher failed: they stay due.
    refused: int = 0
    #: Of those taken, where this process ran the receivers: a queue tells nothing. One that asked to be told again is
    #: neither.
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
        swept.exhausted += dispatch.exhaust(_events().filter(pk__in=pks))
    unheard = _events().none()
    if none_since is not None:
        unheard = _events().filter(dispatch_status=_Status.NONE, received_at__gte=none_since)
    _Sweeper(swept, limit=limit, inline=inline).take(_in_turns(waiting, unheard, limit))
    swept.left = _events().due().count() + unheard.count()
    retrying = _retrying().filter(dispatch_due_at__gt=timezone.now())
    swept.waiting = retrying.count()
    swept.next_due_at = retrying.aggregate(first=Min("dispatch_due_at"))["first"]
    return swept


def _retrying() -> DeliveryEventQuerySet:
    return _events().filter(dispatch_status=_Status.RETRYING)


def _in_turns(
    waiting: DeliveryEventQuerySet, unheard: DeliveryEventQuerySet, limit: int | None
) -> Iterator[DeliveryEvent]:
    """The events of all accounts, oldest first, a batch of one account after a batch of another.

    The account that has waited longest comes first, so that a sweep with a limit takes another one each time.
    """
    needed = ("received_at", "dispatch_due_at", "dispatch_status", "dispatch_attempts")
    oldest = [
        *waiting.order_by().values_list("account").annotate(oldest=Min("dispatch_due_at")),
        *unheard.order_by().values_list("account").annotate(oldest=Min("received_at")),
    ]
    accounts = list(dict.fromkeys(alias for alias, _moment in sorted(oldest, key=itemgetter(1))))
    turn = _TURN if limit is None else max(1, min(_TURN, limit // max(1, len(accounts))))
    turns = deque(
        chain(
            waiting.for_account(alias).only(*needed).in_batches(turn, by="dispatch_due_at"),
            unheard.for_account(alias).only(*needed).in_batches(turn, by="received_at"),
        )
        for alias in accounts
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

    def take(self, events: Iterator[DeliveryEvent]) -> None:
        refused_in_a_row = 0
        for event in events:
            # A dispatcher that is down may take its whole timeout to say so, for each of a million events.
            if self.swept.taken == self.limit or refused_in_a_row == _REFUSALS_IN_A_ROW:
                break
            if self.inline:
                self._attempt(event)
            elif due_at := self._reserve(event):
                if tasks.would_run_at_once():
                    self.swept.taken += 1
                    self._count(dispatch.deliver(event.pk))
                elif dispatch.hand_over(event.pk):
                    refused_in_a_row = 0
                    self.swept.taken += 1
                else:
                    refused_in_a_row += 1
                    self.swept.refused += 1
                    _events().filter(pk=event.pk, dispatch_due_at=due_at).update(dispatch_due_at=timezone.now())

    def _attempt(self, event: DeliveryEvent) -> None:
        if event.dispatch_status == _Status.NONE:
            _events().filter(pk=event.pk, dispatch_status=_Status.NONE).update(
                dispatch_status=_Status.PENDING, dispatch_due_at=timezone.now()
            )
        outcome = dispatch.deliver(event.pk)
        self.swept.taken += outcome is not dispatch.Attempt.NOTHING
        self._count(outcome)

    def _count(self, outcome: dispatch.Attempt | None) -> None:
        self.swept.done += outcome is dispatch.Attempt.DONE
        self.swept.failed += outcome is dispatch.Attempt.FAILED

    def _reserve(self, event: DeliveryEvent) -> datetime | None:
        """Make an event pending for a worker; None where another sweep or a worker has it."""
        now = timezone.now()
        # A queue with hours of backlog is not filled again every minute: each time the event gets as long again.
        due_at = now + max(dispatch.lease(), min(now - event.received_at, _LONGEST_WAIT_IN_A_QUEUE))
        row = _events().filter(
            pk=event.pk, dispatch_status=event.dispatch_status, dispatch_due_at=event.dispatch_due_at
        )
        return due_at if row.update(dispatch_status=_Status.PENDING, dispatch_due_at=due_at) else None


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
        refused_in_a_row = 0 if dispatch.hand_over(pk) else refused_in_a_row + 1
        if refused_in_a_row == _REFUSALS_IN_A_ROW:
            break
