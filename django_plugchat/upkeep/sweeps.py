"""What comes after the first try: taking what is due, and starting over on request."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from operator import itemgetter

from django.db.models import Count, Min, Q, Value
from django.db.models.functions import Concat
from django.utils import timezone

from django_plugchat import dispatch, statements, tasks
from django_plugchat.conf import app_settings
from django_plugchat.dispatch import events
from django_plugchat.models import DeliveryEvent
from django_plugchat.querysets import DeliveryEventQuerySet

_Status = DeliveryEvent.DispatchStatus
_LONGEST_WAIT_IN_A_QUEUE = timedelta(hours=1)
#: Events of one account that a sweep takes before it is the next account's turn.
_TURN = 50
_REFUSALS_IN_A_ROW = 10


@dataclass
class Sweep:
    """What a sweep did, in events."""

    taken: int = 0  # handed to the dispatcher, or attempted here
    refused: int = 0  # the dispatcher failed: they are still due
    # Of those taken, where this process ran the receivers. One that asked to be told again is neither.
    done: int = 0
    failed: int = 0
    exhausted: int = 0  # found due with no attempt left, and given up
    left: int = 0  # still due: for a later sweep
    # Waiting for the pause after a failed attempt to end, and when the first of them does.
    waiting: int = 0
    next_due_at: datetime | None = None


def sweep(
    *, limit: int | None = None, inline: bool = False, now: bool = False, none_since: datetime | None = None
) -> Sweep:
    """Hand what is due to the dispatcher, accounts in turns; ``inline`` attempts it here and now instead.

    ``now`` also takes what waits for the pause after a failed attempt to end, ``none_since`` what was stored since then
    while no receiver was connected. At most ``limit`` events. Sweeps may overlap: none hands over what another has,
    nor, for as long again as it has been waiting, what an earlier one has put into a queue.
    """
    moment = timezone.now()
    is_waiting = Q(dispatch_due_at__lte=moment)
    if now:
        # Nothing that comes meanwhile: while receivers fail, there may be no end of that.
        is_waiting |= Q(dispatch_status=_Status.RETRYING, received_at__lte=moment)
    is_unheard = Q(dispatch_status=_Status.NONE, received_at__gte=none_since) if none_since else Q(pk__in=[])
    waiting, unheard = events().unfinished().filter(is_waiting), events().filter(is_unheard)
    swept = Sweep(exhausted=_exhaust(waiting))
    refused_in_a_row, tried = 0, set()
    for event in _in_turns({"dispatch_due_at": waiting, "received_at": unheard}, limit):
        # A dispatcher that is down may take its whole timeout to say so, for each of a million events.
        if swept.taken == limit or refused_in_a_row == _REFUSALS_IN_A_ROW:
            break
        due_at = None if event.pk in tried else _reserve(event)
        if due_at is None:
            continue
        if now:
            tried.add(event.pk)  # after its new pause it would come up again
        if inline or tasks.would_run_at_once():
            outcome = dispatch.deliver(event.pk)
            swept.taken += 1
            swept.done += outcome is dispatch.Attempt.DONE
            swept.failed += outcome is dispatch.Attempt.FAILED
        elif dispatch.hand_over(event.pk):
            refused_in_a_row = 0
            swept.taken += 1
        else:
            refused_in_a_row += 1
            swept.refused += 1
            statements.change(events().filter(pk=event.pk, dispatch_due_at=due_at), dispatch_due_at=timezone.now())
    swept.left = events().due().count() + unheard.count()
    retrying = events().filter(dispatch_status=_Status.RETRYING, dispatch_due_at__gt=timezone.now())
    return replace(swept, **retrying.aggregate(waiting=Count("pk"), next_due_at=Min("dispatch_due_at")))


def _exhaust(waiting: DeliveryEventQuerySet) -> int:
    """Give up what has no attempt left: whoever made the last one died."""
    return statements.change(
        waiting.filter(dispatch_attempts__gte=app_settings.dispatch_max_attempts),
        dispatch_status=_Status.EXHAUSTED,
        dispatch_due_at=None,
        dispatch_failed=True,
        dispatch_error="The last attempt did not end.",
    )


def _in_turns(waiting: dict[str, DeliveryEventQuerySet], limit: int | None) -> Iterator[DeliveryEvent]:
    """The events of all accounts, a batch of each in turn. With a limit, whoever has waited longest comes first."""
    needed = ("received_at", "dispatch_due_at", "dispatch_status")
    # For the bare column, and below for a plain equality, SQLite would walk along an index of all accounts, and read
    # every row instead of what is due.
    alias = Concat("account", Value(""))
    oldest = [pair for by, rows in waiting.items() for pair in rows.order_by().values_list(alias).annotate(Min(by))]
    accounts = list(dict.fromkeys(alias for alias, _moment in sorted(oldest, key=itemgetter(1))))
    turn = _TURN if limit is None else max(1, min(_TURN, limit // max(1, len(accounts))))
    turns = [
        chain(*[rows.exclude(~Q(account=alias)).only(*needed).in_batches(turn, by=by) for by, rows in waiting.items()])
        for alias in accounts
    ]
    while turns:
        batches = turns.pop(0)
        if batch := next(batches, None):
            yield from batch
            turns.append(batches)


def _reserve(event: DeliveryEvent) -> datetime | None:
    """Make an event pending for a worker; None where another sweep or a worker has it."""
    now = timezone.now()
    # A queue with hours of backlog is not filled again every minute: each time the event gets as long again.
    due_at = now + max(dispatch.lease(), min(now - event.received_at, _LONGEST_WAIT_IN_A_QUEUE))
    row = events().filter(pk=event.pk, dispatch_status=event.dispatch_status, dispatch_due_at=event.dispatch_due_at)
    return due_at if statements.change(row, dispatch_status=_Status.PENDING, dispatch_due_at=due_at) else None


def start_over(queryset: DeliveryEventQuerySet) -> int:
    """Have events told again by the next sweep, all but those being tried at this moment; returns how many."""
    now = timezone.now()
    being_tried = Q(dispatch_status=_Status.RUNNING, dispatch_due_at__gt=now)
    return statements.change(
        queryset.for_writing().filter(~being_tried),
        dispatch_status=_Status.PENDING,
        dispatch_attempts=0,
        dispatch_due_at=now,
        dispatched_at=None,
        dispatch_error="",
        dispatch_failed=False,
    )
