"""What is done with many rows at once, by whom, and how much of it in one request."""

import logging
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from django_plugchat import story
from django_plugchat.admin import actions
from django_plugchat.models import DeliveryEvent, RejectedCallback
from tests.payloads import EXAMPLE
from tests.people import EVENTS, REJECTED, person, select, submit, text_of
from tests.rows import Status, event, events, rejected, status
from tests.waiting import ahead, states

pytestmark = pytest.mark.django_db

DELETE = ("view_deliveryevent", "delete_deliveryevent", "view_rejectedcallback", "delete_rejectedcallback")
DISPATCH = ("view_deliveryevent", "redispatch_deliveryevent")


# Deleting


@pytest.mark.parametrize(("url", "make"), [(EVENTS, event), (REJECTED, rejected)])
def test_deleting_needs_its_permission(url, make):
    row = make()
    reader = person("view_deliveryevent", "view_rejectedcallback")
    assert "delete_selected" not in reader.get(url).content.decode()
    select(reader, url, "delete_selected", row, post="yes")
    assert reader.post(f"{url}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert type(row).objects.exists()


@pytest.mark.parametrize(
    ("url", "make", "question"),
    [(EVENTS, event, "2 messages will be deleted"), (REJECTED, rejected, "2 rejected callbacks will be deleted")],
)
def test_deleting_asks_first(url, make, question):
    first, second, third = make(), make(), make()
    client = person(*DELETE)
    page = select(client, url, "delete_selected", first, second)
    assert question in text_of(page)
    assert type(first).objects.count() == 3
    submit(client, page, url)
    assert type(first).objects.get() == third


def test_one_row_is_deleted_on_its_page():
    row = rejected()
    client = person(*DELETE)
    assert client.get(f"{REJECTED}{row.pk}/delete/").status_code == 200
    client.post(f"{REJECTED}{row.pk}/delete/", {"post": "yes"})
    assert not RejectedCallback.objects.exists()


def test_cancelling_goes_back_to_the_list_as_it_was_filtered():
    page = select(person(*DELETE), f"{EVENTS}?situation=sent", "delete_selected", event())
    assert 'href="?situation=sent"' in page.content.decode()


def test_more_than_a_request_should_delete_are_refused(monkeypatch, caplog):
    monkeypatch.setattr(actions, "AT_A_TIME", 2)
    monkeypatch.setattr(actions, "MOST_ROWS", 3)
    rows = events(4)
    client = person(*DELETE)
    page = select(client, EVENTS, "delete_selected", rows[0], select_across="1", post="yes")
    assert "more than 3" in text_of(page)
    assert "plugchat_prune" in text_of(page)
    assert DeliveryEvent.objects.count() == 4
    rows[0].delete()
    page = select(client, EVENTS, "delete_selected", rows[1], select_across="1")
    assert "3 messages will be deleted" in text_of(page)
    assert "3 were deleted" in text_of(submit(client, page, EVENTS))
    assert not DeliveryEvent.objects.exists()


def test_a_message_is_deleted_with_all_that_was_said_about_it():
    failed, sent, other = event(zaap_id="Z", outcome="failed"), event(zaap_id="Z", message_id="M1"), event()
    status("received", "M1")
    theirs = status("read", "M1", account="norte")
    page = select(person(*DELETE), EVENTS, "delete_selected", failed, sent, post="yes")
    assert "3 were deleted" in text_of(page)
    assert set(DeliveryEvent.objects.all()) == {other, theirs}


def test_rows_that_are_gone_are_no_error():
    row = event()
    client = person(*DELETE)
    page = select(client, EVENTS, "delete_selected", row)
    row.delete()
    assert submit(client, page, EVENTS).status_code == 200
    assert not LogEntry.objects.exists()


def test_what_hangs_on_a_row_needs_its_own_permission(monkeypatch):
    def of_a_project(self, objs, request):
        return [], {}, {"order"}, []

    client = person(*DELETE)
    page = select(client, EVENTS, "delete_selected", event())
    monkeypatch.setattr(actions.BoundedActions, "get_deleted_objects", of_a_project, raising=False)
    assert submit(client, page, EVENTS).status_code == 403
    assert DeliveryEvent.objects.exists()


def test_who_deleted_how_many_is_recorded_without_a_number(caplog):
    caplog.set_level(logging.INFO)
    rows = events(3, zaap_id=EXAMPLE["phone"])
    client = person(*DELETE)
    submit(client, select(client, EVENTS, "delete_selected", *rows), EVENTS)
    entry = LogEntry.objects.get()
    assert "3" in entry.object_repr
    assert entry.is_deletion()
    assert "person-0: delete_selected of 3 deliveryevent." in caplog.messages
    assert EXAMPLE["phone"] not in f"{entry.object_repr} {entry.change_message} {caplog.text}"


# Dispatching again


def test_dispatching_again_needs_its_permission(into_queue):
    row = event(dispatch_status=Status.DONE)
    select(person("view_deliveryevent"), EVENTS, "redispatch", row, post="yes")
    assert states() == ["done"]


def test_dispatching_again_asks_first(into_queue):
    row, _other = event(dispatch_status=Status.EXHAUSTED), event(dispatch_status=Status.DONE)
    client = person(*DISPATCH)
    page = select(client, EVENTS, "redispatch", row)
    assert "1 event" in text_of(page)
    assert states() == ["exhausted", "done"]
    assert "1 event is due again" in text_of(submit(client, page, EVENTS))
    assert states() == ["pending", "done"]


def test_what_is_being_tried_is_left_alone(into_queue):
    running = event(dispatch_status=Status.RUNNING, dispatch_attempts=1, dispatch_due_at=ahead(minutes=5))

    page = select(person(*DISPATCH), EVENTS, "redispatch", running, post="yes")
    assert "left alone" in text_of(page)
    assert states() == ["running"]


def test_dispatching_again_without_a_receiver():
    page = select(person(*DISPATCH), EVENTS, "redispatch", event(), post="yes")
    assert "No receiver" in text_of(page)
    assert states() == ["none"]


# Why an event waits


@pytest.mark.parametrize(
    ("dispatch_status", "minutes", "word"),
    [
        (Status.PENDING, -1, "plugchat_redispatch"),
        (Status.PENDING, 1, "queue"),
        (Status.RUNNING, -1, "died"),
        (Status.RUNNING, 1, "now"),
        (Status.RETRYING, 1, "Attempt 2 of 5"),
        (Status.EXHAUSTED, None, "Given up"),
        (Status.NONE, None, "No receiver"),
    ],
)
def test_why_an_event_waits(dispatch_status, minutes, word):
    due_at = None if minutes is None else timezone.now() + timedelta(minutes=minutes)
    row = DeliveryEvent(dispatch_status=dispatch_status, dispatch_due_at=due_at, dispatch_attempts=2)
    text = story.why_waiting(row)
    assert word in text
    # Whatever the time at its end ends in.
    assert not text.endswith("..")


def test_what_is_done_does_not_wait():
    assert story.why_waiting(DeliveryEvent(dispatch_status=Status.DONE)) == ""
