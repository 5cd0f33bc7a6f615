"""Hands recorded events to the user's code: at least once, in no order, through any death in between.

An event is *due* when nobody is known to be at it: see ``DeliveryEventQuerySet.due``. ``deliver`` claims it by one
conditional UPDATE that moves the due time a lease ahead, so that nothing is taken twice at once, and what a dying
worker leaves behind becomes due again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

from django.db import router, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.module_loading import import_string

from django_plugchat.conf import DEFAULTS, app_settings
from django_plugchat.models import DeliveryEvent, DeliveryEventQuerySet, savepoint
from django_plugchat.signals import delivery_recorded, receiver_name

logger = logging.getLogger(__name__)

_Status = DeliveryEvent.DispatchStatus
_LONGEST_PAUSE = timedelta(days=1)
_LONGEST_SWEEP_PAUSE = timedelta(hours=1)
_BATCH = 500
_REFUSALS_IN_A_ROW = 10
_GIVEN_UP = "The last attempt did not end."


def _lease() -> timedelta:
    return timedelta(seconds=app_settings.dispatch_lease)


def has_receivers() -> bool:
    """Whether this process would hear of an event."""
    return delivery_recorded.has_listeners(DeliveryEvent)


def opening_state() -> dict[str, Any]:
    """The dispatch fields of an event about to be stored."""
    # Another dispatcher's workers may have receivers that this process does not import.
    if app_settings.dispatcher == DEFAULTS["DISPATCHER"] and not has_receivers():
        return {"dispatch_status": _Status.NONE.value, "dispatch_due_at": None}
    return {"dispatch_status": _Status.PENDING.value, "dispatch_due_at": timezone.now() + _lease()}


def after_commit(event: DeliveryEvent) -> None:
    """Hand over a stored event as soon as its transaction, if there is one, is committed."""
    if event.dispatch_status != _Status.NONE:
        transaction.on_commit(lambda: hand_over(event.pk), using=event._state.db, robust=True)


def hand_over(pk: Any) -> bool:
    """Call the configured dispatcher. Returns False, and logs why, when it fails: the event stays due."""
    try:
        import_string(app_settings.dispatcher)(pk)
    except (Exception, SystemExit) as error:
        # The class alone: the text of somebody else's exception may hold anything.
        logger.error(
            "The dispatcher failed with %s; plugchat_redispatch takes event %s later.", type(error).__name__, pk
        )
        return False
    return True


def enqueue(pk: Any) -> None:
    """The default dispatcher: Django's Tasks framework, or inline where there is none."""
    from django_plugchat import tasks

    tasks.enqueue_delivery(pk)


def _events() -> DeliveryEventQuerySet:
    return DeliveryEvent.objects.using(router.db_for_write(DeliveryEvent))


def _claim(pk: Any) -> DeliveryEvent | None:
    now = timezone.now()
    row = _events().filter(pk=pk)
    limit = app_settings.dispatch_max_attempts
    claimed = row.filter(
        Q(dispatch_attempts=0) | Q(dispatch_due_at__lte=now),
        dispatch_status__in=[_Status.PENDING, _Status.FAILED],
        dispatch_due_at__isnull=False,
        dispatch_attempts__lt=limit,
    ).update(
        dispatch_status=_Status.PENDING,
        dispatch_attempts=F("dispatch_attempts") + 1,
        dispatch_due_at=now + _lease(),
        dispatch_sweep_after=None,
    )
    if claimed:
        return row.first()
    _exhaust(row)
    return None


def _exhaust(rows: DeliveryEventQuerySet) -> int:
    """Give up what is due and has no attempt left: whoever made the last one died."""
    return (
        rows.due()
        .filter(dispatch_attempts__gte=app_settings.dispatch_max_attempts)
        .update(dispatch_status=_Status.FAILED, dispatch_due_at=None, dispatch_error=_GIVEN_UP)
    )


def deliver(pk: Any) -> bool | None:
    """One attempt now to tell all receivers of an event: what a worker calls.

    Returns True when all of them took it, False when one raised, None when there was nothing to do: another worker
    has it, it is done, exhausted, deleted, not due yet, or no receiver is connected here, which is logged as an error.
    """
    if not has_receivers():
        logger.error(
            "No receiver of delivery_recorded is connected in this process: event %s is left for one that has. "
            "Import your receivers in an AppConfig.ready().",
            pk,
        )
        return None
    event = _claim(pk)
    if event is None:
        return None
    attempt, lease_end = event.dispatch_attempts, event.dispatch_due_at
    with savepoint(_events().db):
        results = delivery_recorded.send_robust(sender=DeliveryEvent, event=event)
    failures = [
        f"{receiver_name(receiver)}: {type(result).__name__}"
        for receiver, result in results
        if isinstance(result, Exception)
    ]
    now = timezone.now()
    changes: dict[str, Any]
    if failures:
        exhausted = attempt >= app_settings.dispatch_max_attempts
        changes = {
            "dispatch_status": _Status.FAILED,
            "dispatch_due_at": None if exhausted else now + _pause(attempt),
            "dispatch_error": "\n".join(failures),
        }
    else:
        changes = {
            "dispatch_status": _Status.DONE,
            "dispatch_due_at": None,
            "dispatched_at": now,
            "dispatch_error": "",
        }
    # Where another worker has taken the event over meanwhile, its outcome counts. The number of the attempt alone does
    # not tell, since redispatch counts from the start. A last attempt that was taken for dead wrongly has its say.
    still_ours = Q(dispatch_due_at=lease_end) | Q(dispatch_error=_GIVEN_UP)
    _events().filter(still_ours, pk=pk, dispatch_attempts=attempt).update(**changes)
    return not failures


def _pause(attempt: int) -> timedelta:
    """Before the next attempt: a lease, then twice as long each time."""
    return min(min(_lease(), _LONGEST_PAUSE) * (1 << min(attempt - 1, 20)), _LONGEST_PAUSE)


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
    #: Still to be taken, by a later sweep.
    left: int = 0

    def _look_at(self, handed_over: dict[Any, int]) -> None:
        """Count outcomes. A queue tells none, but a backend that runs at once has them already."""
        rows = _events().filter(pk__in=list(handed_over)).values_list("pk", "dispatch_status", "dispatch_attempts")
        for pk, status, attempts in rows:
            if attempts > handed_over[pk]:
                self.done += status == _Status.DONE
                self.failed += status == _Status.FAILED
        handed_over.clear()


def sweep(*, limit: int | None = None, inline: bool = False, none_since: datetime | None = None) -> Sweep:
    """Hand what is due to the dispatcher; ``inline`` attempts it here and now instead. At most ``limit`` events.

    ``none_since`` also takes what was stored since then while no receiver was connected. Sweeps may overlap: none
    hands over what another has, nor, for as long again as it has been waiting, what an earlier one has put into a
    queue. ``inline`` does not wait for the queue: a worker that comes later finds nothing to do.
    """
    swept = Sweep(exhausted=_exhaust_all())
    due = _events().due() if inline else _events().due().filter(_not_in_a_queue())
    unheard = _events().none()
    if none_since is not None:
        unheard = _events().filter(dispatch_status=_Status.NONE, received_at__gte=none_since)
    handed_over: dict[Any, int] = {}
    refused_in_a_row = 0
    for event in chain(_oldest_first(due, "dispatch_due_at"), _oldest_first(unheard, "received_at")):
        # A dispatcher that is down may take its whole timeout to say so, for each of a million events.
        if swept.taken == limit or refused_in_a_row == _REFUSALS_IN_A_ROW:
            break
        if not _reserve(event, inline=inline):
            continue
        if inline:
            succeeded = deliver(event.pk)
            swept.taken += succeeded is not None
            swept.done += succeeded is True
            swept.failed += succeeded is False
        elif hand_over(event.pk):
            swept.taken += 1
            refused_in_a_row = 0
            handed_over[event.pk] = event.dispatch_attempts
            if len(handed_over) == _BATCH:
                swept._look_at(handed_over)
        else:
            swept.refused += 1
            refused_in_a_row += 1
            # Where the dispatcher took so long to fail that another sweep has the event, it keeps it.
            _events().filter(pk=event.pk, dispatch_sweep_after=event.dispatch_sweep_after).update(
                dispatch_sweep_after=None
            )
    swept._look_at(handed_over)
    swept.left = due.count() + unheard.count()
    return swept


def _exhaust_all() -> int:
    total = 0
    rows = _events().due().filter(dispatch_attempts__gte=app_settings.dispatch_max_attempts)
    while pks := list(rows.values_list("pk", flat=True)[:_BATCH]):
        total += _exhaust(_events().filter(pk__in=pks))
    return total


def _not_in_a_queue() -> Q:
    return Q(dispatch_sweep_after=None) | Q(dispatch_sweep_after__lte=timezone.now())


def _oldest_first(events: DeliveryEventQuerySet, field: str) -> Iterator[DeliveryEvent]:
    """Walk along an index in statements of their own: flat memory, and no cursor that stays open."""
    rows = events.order_by(field, "pk").only("received_at", "dispatch_due_at", "dispatch_status", "dispatch_attempts")
    batch = list(rows[:_BATCH])
    while batch:
        yield from batch
        last = getattr(batch[-1], field)
        batch = list(rows.filter(**{field: last}, pk__gt=batch[-1].pk)[:_BATCH]) or list(
            rows.filter(**{f"{field}__gt": last})[:_BATCH]
        )


def _reserve(event: DeliveryEvent, *, inline: bool) -> bool:
    """Whether this sweep has the event, and no other one."""
    now = timezone.now()
    changes: dict[str, Any] = {}
    row = _events().filter(pk=event.pk)
    if event.dispatch_status == _Status.NONE:
        row = row.filter(dispatch_status=_Status.NONE)
        changes = {"dispatch_status": _Status.PENDING, "dispatch_due_at": now}
    elif inline:
        return True  # deliver claims it
    else:
        row = row.due().filter(_not_in_a_queue())
    if not inline:
        # A queue with hours of backlog is not filled again every minute: each time it gets as long again.
        waiting = min(now - event.received_at, _LONGEST_SWEEP_PAUSE)
        event.dispatch_sweep_after = changes["dispatch_sweep_after"] = now + max(_lease(), waiting)
    return bool(row.update(**changes))


def redispatch(queryset: DeliveryEventQuerySet) -> int:
    """Start over with these events, whatever became of them: all but those being tried at this moment.

    Returns how many. Those that the dispatcher does not take are due, for the next sweep.
    """
    alias = router.db_for_write(DeliveryEvent)
    rows = queryset.using(alias).order_by("pk").values_list("pk", flat=True)
    taken = 0
    pks = list(rows[:_BATCH])
    while pks:
        now = timezone.now()
        being_tried = Q(dispatch_status=_Status.PENDING, dispatch_attempts__gt=0, dispatch_due_at__gt=now)
        taken += (
            _events()
            .filter(~being_tried, pk__in=pks)
            .update(
                dispatch_status=_Status.PENDING,
                dispatch_attempts=0,
                dispatch_due_at=now,
                dispatch_sweep_after=None,
                dispatched_at=None,
                dispatch_error="",
            )
        )
        transaction.on_commit(partial(_hand_over_all, pks), using=alias, robust=True)
        pks = list(rows.filter(pk__gt=pks[-1])[:_BATCH])
    return taken


def _hand_over_all(pks: list[Any]) -> None:
    refused_in_a_row = 0
    for pk in pks:
        refused_in_a_row = 0 if hand_over(pk) else refused_in_a_row + 1
        if refused_in_a_row == _REFUSALS_IN_A_ROW:
            break
