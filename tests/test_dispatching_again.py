"""Starting dispatches over."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from django_plugchat import dispatch
from django_plugchat.models import DeliveryEvent

from .dispatchers import queue
from .rows import Status, event, events

pytestmark = pytest.mark.django_db(transaction=True)

SOON = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def dispatcher(plugchat):
    queue.clear()
    plugchat(DISPATCHER="tests.dispatchers.into_queue")


@pytest.mark.parametrize(
    ("status", "attempts", "due_in"),
    [
        *((status, 5, None) for status in Status.values),
        # Waiting for its next attempt.
        (Status.FAILED, 1, SOON),
        # In a queue.
        (Status.PENDING, 0, SOON),
        # Tried by a worker that died.
        (Status.PENDING, 1, -SOON),
    ],
)
def test_events_start_over_whatever_became_of_them(status, attempts, due_in):
    now = timezone.now()
    row = event(
        dispatch_status=status,
        dispatch_attempts=attempts,
        dispatch_due_at=due_in and now + due_in,
        dispatch_sweep_after=now + SOON,
        dispatched_at=now,
        dispatch_error="Old",
    )
    assert dispatch.redispatch(DeliveryEvent.objects.all()) == 1
    assert queue == [row.pk]
    row = DeliveryEvent.objects.due().get()
    assert (row.dispatch_status, row.dispatch_attempts, row.dispatch_error) == ("pending", 0, "")
    assert (row.dispatched_at, row.dispatch_sweep_after) == (None, None)


def test_what_is_being_tried_is_left_alone():
    tried = event(dispatch_status=Status.PENDING, dispatch_attempts=1, dispatch_due_at=timezone.now() + SOON)
    before = DeliveryEvent.objects.values().get()
    other = event(dispatch_status=Status.DONE)
    assert dispatch.redispatch(DeliveryEvent.objects.all()) == 1
    assert DeliveryEvent.objects.values().get(pk=tried.pk) == before
    # Those not asked for are, too.
    assert dispatch.redispatch(DeliveryEvent.objects.filter(pk=tried.pk)) == 0
    assert DeliveryEvent.objects.due().get() == other


def test_they_are_handed_over_when_that_is_committed():
    event(dispatch_status=Status.DONE)
    with transaction.atomic():
        assert dispatch.redispatch(DeliveryEvent.objects.all()) == 1
        assert queue == []
    assert len(queue) == 1


def test_a_dispatcher_that_is_down_is_not_asked_for_each_event(plugchat):
    plugchat(DISPATCHER="tests.dispatchers.down")
    events(15, dispatch_status=Status.DONE)
    assert dispatch.redispatch(DeliveryEvent.objects.all()) == 15
    assert len(queue) == 10
    assert DeliveryEvent.objects.due().count() == 15


def test_a_dispatcher_that_fails_now_and_then_is_asked_for_each_event(plugchat):
    plugchat(DISPATCHER="tests.dispatchers.up_every_tenth_time")
    events(25, dispatch_status=Status.DONE)
    assert dispatch.redispatch(DeliveryEvent.objects.all()) == 25
    assert len(queue) == 25


def test_many_are_handed_over_in_batches(monkeypatch):
    monkeypatch.setattr(dispatch, "_BATCH", 2)
    rows = events(5, dispatch_status=Status.DONE)
    assert dispatch.redispatch(DeliveryEvent.objects.filter(dispatch_status=Status.DONE)) == 5
    assert queue == [row.pk for row in rows]
