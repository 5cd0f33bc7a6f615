"""Starting over: what the admin's "Dispatch again" does."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_plugchat import dispatch
from django_plugchat.dispatch import Attempt
from django_plugchat.models import DeliveryEvent
from django_plugchat.upkeep import sweeps

from .receivers import Receiver, connected
from .rows import Status, event, events
from .waiting import states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("into_queue")]

SOON = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("status", "attempts", "due_in"),
    [
        (Status.NONE, 0, None),
        (Status.DONE, 1, None),
        (Status.EXHAUSTED, 5, None),
        # Waiting for its next attempt.
        (Status.RETRYING, 1, SOON),
        # In a queue.
        (Status.PENDING, 0, SOON),
        # Tried by a worker that died.
        (Status.RUNNING, 1, -SOON),
    ],
)
def test_events_start_over_whatever_became_of_them(status, attempts, due_in):
    now = timezone.now()
    event(
        dispatch_status=status,
        dispatch_attempts=attempts,
        dispatch_due_at=due_in and now + due_in,
        dispatched_at=now,
        dispatch_error="Old",
    )
    assert sweeps.start_over(DeliveryEvent.objects.all()) == 1
    row = DeliveryEvent.objects.due().get()
    assert (row.dispatch_status, row.dispatch_attempts, row.dispatch_error) == ("pending", 0, "")
    assert row.dispatched_at is None
    with connected(Receiver()):
        assert dispatch.deliver(row.pk) is Attempt.DONE


def test_what_is_being_tried_is_left_alone():
    tried = event(dispatch_status=Status.RUNNING, dispatch_attempts=1, dispatch_due_at=timezone.now() + SOON)
    before = DeliveryEvent.objects.values().get()
    other = event(dispatch_status=Status.DONE)
    assert sweeps.start_over(DeliveryEvent.objects.all()) == 1
    assert DeliveryEvent.objects.values().get(pk=tried.pk) == before
    # Those not asked for are, too.
    assert sweeps.start_over(DeliveryEvent.objects.filter(pk=tried.pk)) == 0
    assert DeliveryEvent.objects.due().get() == other


def test_the_next_sweep_hands_them_over(into_queue):
    rows = events(3, dispatch_status=Status.EXHAUSTED, dispatch_attempts=5)
    with CaptureQueriesContext(connection) as statements:
        assert sweeps.start_over(DeliveryEvent.objects.all()) == 3
    assert len(statements) == 1
    assert into_queue == []
    assert sweeps.sweep().taken == 3
    assert into_queue == [row.pk for row in rows]


def test_they_are_not_told_where_that_is_undone():
    event(dispatch_status=Status.DONE)
    with transaction.atomic():
        sweeps.start_over(DeliveryEvent.objects.all())
        transaction.set_rollback(True)
    assert sweeps.sweep().taken == 0
    assert states() == ["done"]
