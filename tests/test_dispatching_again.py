"""Starting over: what the admin's "Dispatch again" does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from django_plugchat import dispatch
from django_plugchat.dispatch import Attempt
from django_plugchat.models import DeliveryEvent
from django_plugchat.upkeep import sweeps

from .dispatchers import queue
from .receivers import Receiver, connected, failing
from .rows import Status, event, events
from .waiting import states

pytestmark = pytest.mark.django_db(transaction=True)

SOON = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def _into_queue(plugchat):
    queue.clear()
    plugchat(DISPATCHER="tests.dispatchers.into_queue")


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
    row = event(
        dispatch_status=status,
        dispatch_attempts=attempts,
        dispatch_due_at=due_in and now + due_in,
        dispatched_at=now,
        dispatch_error="Old",
    )
    assert sweeps.start_over(DeliveryEvent.objects.all()) == 1
    assert queue == [row.pk]
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


def test_the_default_dispatcher_tells_them_at_once(plugchat):
    plugchat(DISPATCHER="django_plugchat.tasks.enqueue")
    events(3, dispatch_status=Status.EXHAUSTED, dispatch_attempts=5)
    with connected(Receiver(), failing(times=1)):
        assert sweeps.start_over(DeliveryEvent.objects.all()) == 3
    assert states() == ["retrying", "done", "done"]
    assert set(DeliveryEvent.objects.values_list("dispatch_attempts", flat=True)) == {1}


def test_they_are_handed_over_when_that_is_committed():
    event(dispatch_status=Status.DONE)
    with transaction.atomic():
        assert sweeps.start_over(DeliveryEvent.objects.all()) == 1
        assert queue == []
    assert len(queue) == 1


def test_they_are_not_where_that_is_undone():
    event(dispatch_status=Status.DONE)
    with transaction.atomic():
        sweeps.start_over(DeliveryEvent.objects.all())
        transaction.set_rollback(True)
    assert queue == []
    assert states() == ["done"]


#: More than are changed in one statement.
MANY = 620


def test_many():
    rows = events(MANY, dispatch_status=Status.DONE)
    assert sweeps.start_over(DeliveryEvent.objects.filter(dispatch_status=Status.DONE)) == MANY
    assert queue == [row.pk for row in rows]
    assert set(states()) == {"pending"}


def test_a_dispatcher_that_is_down_is_asked_ten_times_in_all(plugchat):
    plugchat(DISPATCHER="tests.dispatchers.down")
    events(MANY, dispatch_status=Status.DONE)
    assert sweeps.start_over(DeliveryEvent.objects.all()) == MANY
    assert len(queue) == 10
    assert DeliveryEvent.objects.due().count() == MANY


def test_a_dispatcher_that_fails_now_and_then_is_asked_for_each_event(plugchat):
    plugchat(DISPATCHER="tests.dispatchers.up_every_tenth_time")
    events(25, dispatch_status=Status.DONE)
    assert sweeps.start_over(DeliveryEvent.objects.all()) == 25
    assert len(queue) == 25
