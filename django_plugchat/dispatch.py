"""Hands recorded events to the user's code: at least once, in no order, through any death in between.

An event is *due* when nobody is known to be at it: see ``DeliveryEventQuerySet.due``. ``deliver`` claims it by one
conditional UPDATE that moves the due time a lease ahead, so that nothing is taken twice at once, and what a dying
worker leaves behind becomes due again.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import router, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.module_loading import import_string

from django_plugchat.conf import DEFAULTS, app_settings
from django_plugchat.models import DeliveryEvent, DeliveryEventQuerySet
from django_plugchat.signals import delivery_recorded

logger = logging.getLogger(__name__)

_Status = DeliveryEvent.DispatchStatus
_LONGEST_PAUSE = timedelta(days=1)


def _lease() -> timedelta:
    return timedelta(seconds=app_settings.dispatch_lease)


def _has_receivers() -> bool:
    return delivery_recorded.has_listeners(DeliveryEvent)


def opening_state() -> dict[str, Any]:
    """The dispatch fields of an event about to be stored."""
    # Another dispatcher's workers may have receivers that this process does not import.
    if app_settings.dispatcher == DEFAULTS["DISPATCHER"] and not _has_receivers():
        return {"dispatch_status": _Status.NONE, "dispatch_due_at": None}
    return {"dispatch_status": _Status.PENDING, "dispatch_due_at": timezone.now() + _lease()}


def after_commit(event: DeliveryEvent) -> None:
    """Hand over a stored event as soon as its transaction, if there is one, is committed."""
    if event.dispatch_status != _Status.NONE:
        transaction.on_commit(lambda: hand_over(event.pk), using=event._state.db, robust=True)


def hand_over(pk: Any) -> bool:
    """Call the configured dispatcher. Returns False, and logs why, when it fails: the event stays due."""
    try:
        import_string(app_settings.dispatcher)(pk)
    except Exception as error:
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
    row.due().filter(dispatch_attempts__gte=limit).update(
        dispatch_status=_Status.FAILED, dispatch_due_at=None, dispatch_error="The last attempt did not end."
    )
    return None


def deliver(pk: Any) -> bool | None:
    """One attempt now to tell all receivers of an event: what a worker calls.

    Returns True when all of them took it, False when one raised, None when there was nothing to do: another worker
    has it, it is done, exhausted, deleted, not due yet, or no receiver is connected here, which is logged as an error.
    """
    if not _has_receivers():
        logger.error(
            "No receiver of delivery_recorded is connected in this process: event %s is left for one that has. "
            "Import your receivers in an AppConfig.ready().",
            pk,
        )
        return None
    event = _claim(pk)
    if event is None:
        return None
    attempt = event.dispatch_attempts
    failures = [
        f"{_name(receiver)}: {type(result).__name__}"
        for receiver, result in delivery_recorded.send_robust(sender=DeliveryEvent, event=event)
        if isinstance(result, Exception)
    ]
    now = timezone.now()
    changes: dict[str, Any]
    if failures:
        exhausted = attempt >= app_settings.dispatch_max_attempts
        changes = {
            "dispatch_status": _Status.FAILED,
            "dispatch_due_at": None if exhausted else now + min(_lease() * 2 ** (attempt - 1), _LONGEST_PAUSE),
            "dispatch_error": "\n".join(failures),
        }
    else:
        changes = {
            "dispatch_status": _Status.DONE,
            "dispatch_due_at": None,
            "dispatched_at": now,
            "dispatch_error": "",
        }
    # Where the lease ended meanwhile and another worker has it, its outcome counts.
    _events().filter(pk=pk, dispatch_attempts=attempt, dispatch_status=_Status.PENDING).update(**changes)
    return not failures


def _name(receiver: Any) -> str:
    return f"{receiver.__module__}.{getattr(receiver, '__qualname__', type(receiver).__qualname__)}"
