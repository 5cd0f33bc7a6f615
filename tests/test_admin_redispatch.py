"""Starting dispatches over."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_plugchat import dispatch
from django_plugchat.models import DeliveryEvent

from .rows import Status, event, events

pytestmark = pytest.mark.django_db(transaction=True)

taken = []


def take(pk):
    taken.append(pk)


def refuse(pk):
    taken.append(pk)
    raise ConnectionError


@pytest.fixture(autouse=True)
def dispatcher(plugchat):
    taken.clear()
    plugchat(DISPATCHER=f"{__name__}.take")


def test_events_start_over_whatever_became_of_them():
    rows = [
        event(dispatch_status=status, dispatch_attempts=4, dispatch_error="Old", dispatched_at=timezone.now())
        for status in Status.values
    ]
    assert dispatch.redispatch(DeliveryEvent.objects.all()) == 4
    assert taken == [row.pk for row in rows]
    assert DeliveryEvent.objects.due().count() == 4
    for row in DeliveryEvent.objects.all():
        assert (row.dispatch_attempts, row.dispatch_error, row.dispatched_at) == (0, "", None)


def test_what_is_being_tried_is_left_alone():
    soon = timezone.now() + timedelta(minutes=5)
    tried = event(dispatch_status=Status.PENDING, dispatch_attempts=1, dispatch_due_at=soon)
    event(dispatch_status=Status.PENDING, dispatch_attempts=0, dispatch_due_at=soon)
    assert dispatch.redispatch(DeliveryEvent.objects.all()) == 1
    tried.refresh_from_db()
    assert tried.dispatch_attempts == 1


def test_a_dispatcher_that_is_down_is_not_asked_for_each_event(plugchat):
    plugchat(DISPATCHER=f"{__name__}.refuse")
    events(15, dispatch_status=Status.DONE)
    assert dispatch.redispatch(DeliveryEvent.objects.all()) == 15
    assert len(taken) == 10
    assert DeliveryEvent.objects.due().count() == 15


def test_many_are_handed_over_in_batches(monkeypatch):
    monkeypatch.setattr(dispatch, "_BATCH", 2)
    rows = events(5, dispatch_status=Status.DONE)
    assert dispatch.redispatch(DeliveryEvent.objects.filter(dispatch_status=Status.DONE)) == 5
    assert taken == [row.pk for row in rows]
