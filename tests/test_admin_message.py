"""The page of one message: its story, what it is found by, and what developers need."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_plugchat.admin import message
from django_plugchat.provider.errors import ERRORS_BY_KIND

from .people import EVENTS, person, text_of
from .rows import event, events, status

pytestmark = pytest.mark.django_db

NOW = timezone.now() - timedelta(days=30)


def at(minutes):
    return NOW + timedelta(minutes=minutes)


@pytest.fixture
def viewer():
    return person("view_deliveryevent")


@pytest.fixture
def trusted():
    return person("view_deliveryevent", "view_phone")


def open_page(client, row):
    response = client.get(f"{EVENTS}{row.pk}/change/")
    assert response.status_code == 200
    return response


def outcomes(response):
    return [line.outcome for line in response.context["lines"]]


# The story


def test_it_reads_from_top_to_bottom(trusted):
    opened = event(message_id="M1", phone="5544999999999", received_at=at(0), occurred_at=at(0))
    read = status("read", "M1", received_at=at(3), occurred_at=at(2), times_received=3)
    # The sender's clock is the same for all: what came last happened in between.
    status("received", "M1", received_at=at(9), occurred_at=at(1))
    event(zaap_id=opened.zaap_id, account="norte")
    event(message_id="")
    response = open_page(trusted, opened)
    assert outcomes(response) == ["sent", "received", "read"]
    text = text_of(response)
    assert "Message to +55 44 99999-9999" in text
    assert "saw the message" in text
    assert "PlugChat told it 3 times" in text
    assert text.count("PlugChat told it later") == 1
    assert f'href="{EVENTS}{read.pk}/change/"' in response.content.decode()


def test_a_status_tells_the_same_story(viewer):
    event(message_id="M1", custom_id="order-7", received_at=at(0))
    read = status("read", "M1", received_at=at(1))
    response = open_page(viewer, read)
    assert outcomes(response) == ["sent", "read"]
    assert [line.is_current for line in response.context["lines"]] == [False, True]
    # What only the delivery callback says.
    assert "order-7" in text_of(response)


def test_a_status_without_its_delivery_callback_stands_alone(viewer):
    response = open_page(viewer, status("received", "LOST"))
    assert outcomes(response) == ["received"]
    assert "zaapId" not in [row["label"] for row in response.context["ids"]]


def test_what_was_sent_is_not_called_received(viewer):
    assert "Whether the contact received it, PlugChat has not said" in text_of(open_page(viewer, event()))


@pytest.mark.parametrize("kind", [*ERRORS_BY_KIND, "other"])
def test_every_kind_of_failure_says_what_it_means_and_what_to_do(viewer, kind):
    error = ERRORS_BY_KIND.get(kind, ("Never heard of",))[0]
    response = open_page(viewer, event(outcome="failed", error=error))
    (line,) = response.context["lines"]
    label, meaning, advice = line.failure
    text = text_of(response)
    assert f"{label}. {meaning} What to do: {advice}" in text
    # Words that are not known may hold anything.
    assert (error in text) == (kind != "other")


def test_a_failure_that_went_out_after_all_is_told(viewer):
    failed = event(zaap_id="SAME", outcome="failed", error="Timeout on send message", received_at=at(0))
    event(zaap_id="SAME", message_id="M1", received_at=at(5))
    status("received", "M1", received_at=at(6))
    response = open_page(viewer, failed)
    assert outcomes(response) == ["failed", "sent", "received"]
    assert "went out after all" in text_of(response)
    assert "Was it tried again?" not in text_of(response)


def test_a_group_is_summed_up(trusted):
    group = "120363019502650977-group"
    sent = event(message_id="M1", phone=group, received_at=at(0))
    for number in range(3):
        status("received", "M1", phone=group, participant=f"551199999000{number}", received_at=at(1 + number))
    hers = status("read", "M1", phone=group, participant="5511999990002", received_at=at(7))
    # Out of order: it does not take her back.
    status("sent", "M1", phone=group, participant="5511999990002", received_at=at(9))
    response = open_page(trusted, sent)
    assert outcomes(response) == ["sent", "received", "read", "sent"]
    text = text_of(response)
    assert "3 participants of the group" in text
    assert "1 participant of the group" in text
    phones = [phone for phone, _outcome, _moment in response.context["participants"]]
    assert phones == ["+55 11 99999-0000", "+55 11 99999-0001", "+55 11 99999-0002"]
    # Of her own status, she comes first.
    phone, outcome, _moment = open_page(trusted, hers).context["participants"][0]
    assert phone == "+55 11 99999-0002"
    assert "Read" in outcome


def test_a_large_group_is_bounded(viewer, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(message, "MAX_PARTICIPANTS", 2)
    sent = event(message_id="M1", phone="120363019502650977-group")
    for number in range(5):
        status("received", "M1", phone="120363019502650977-group", participant=f"551199999000{number}")
    with django_assert_max_num_queries(10):
        response = open_page(viewer, sent)
    assert len(response.context["participants"]) == 2
    assert "5 participants of the group" in text_of(response)
    assert "3 more are not shown" in text_of(response)


def test_a_long_story_is_cut(viewer, monkeypatch):
    monkeypatch.setattr(message, "MAX_LINES", 3)
    told = events(6, zaap_id="SAME", received_at=at(0))
    response = open_page(viewer, told[5])
    # The one that was opened is always among them.
    assert len(response.context["lines"]) == 4
    assert response.context["lines"][-1].is_current
    monkeypatch.setattr(message, "MAX_STORY", 4)
    assert "more about this message than is shown" in text_of(open_page(viewer, told[0]))


@pytest.mark.parametrize(("who", "expected"), [("trusted", [1, 2, 3]), ("viewer", [3, 1, 2])])
def test_the_order_of_participants_tells_nothing_of_hidden_numbers(request, who, expected):
    """In the order of the whole numbers their first digits could be guessed."""
    group = "120363019502650977-group"
    for minutes, number in enumerate([3, 1, 2]):
        row = status(
            "read",
            "M1",
            phone=group,
            participant=f"55119888877{number}{number}",
            received_at=at(minutes),
            occurred_at=None,
        )
    other = status("read", "M1", phone=group, received_at=at(9))
    shown = open_page(request.getfixturevalue(who), other).context["participants"]
    assert [int(phone[-1]) for phone, _outcome, _moment in shown] == expected
    # Whose status it is comes first all the same.
    assert open_page(request.getfixturevalue(who), row).context["participants"][0][0].endswith("2")


# Whether it was tried again


def others(response):
    return [(other["pk"], str(other["why"])) for other in response.context["others"]]


def test_a_failed_message_says_where_it_was_tried_again(viewer):
    failed = event(custom_id="order-7", outcome="failed", error="Timeout on send message", received_at=at(0))
    first = event(custom_id="order-7", received_at=at(-60))
    by_id = event(custom_id="order-7", phone="5511988887777", message_id="M1", received_at=at(10))
    status("read", "M1", received_at=at(11))
    by_number = event(phone="5544999999999", phone_digits=failed.phone_digits, received_at=at(20))
    event(received_at=at(-5))
    event(received_at=at(60 * 24 * 8))
    event(custom_id="order-7", account="norte", received_at=at(10))
    event(zaap_id=failed.zaap_id, outcome="failed", error="Error on send message", received_at=at(1))
    response = open_page(viewer, failed)
    assert others(response) == [
        (first.pk, "earlier, with the same customId"),
        (by_id.pk, "later, with the same customId"),
        (by_number.pk, "later, to the same number"),
    ]
    assert "✓✓ Read" in text_of(response)
    assert "Was it tried again?" in text_of(response)


def test_a_failed_message_says_that_it_was_not_tried_again(viewer):
    failed = event(outcome="failed", phone="", error="Timeout on send message")
    assert "has not told of another message" in text_of(open_page(viewer, failed))


def test_of_a_message_that_arrived_only_those_of_its_customid_are_named(viewer):
    sent = event(custom_id="order-7", received_at=at(0))
    again = event(custom_id="order-7", received_at=at(9))
    event(received_at=at(5))
    response = open_page(viewer, sent)
    assert others(response) == [(again.pk, "later, with the same customId")]
    assert "Other messages with this customId" in text_of(response)


def test_no_more_others_are_named_than_help(viewer):
    failed = event(outcome="failed", error="Timeout on send message", received_at=at(0))
    later = [event(received_at=at(minutes)) for minutes in range(1, 9)]
    assert [pk for pk, _why in others(open_page(viewer, failed))] == [row.pk for row in later[:5]]


# Ids


def test_each_id_can_be_copied(trusted):
    row = event(zaap_id="Z1", message_id="M1", custom_id="order-7", instance_id="I1", phone="5544999999999")
    page = open_page(trusted, row).content.decode()
    buttons = re.findall(r'<code>([^<]*)</code> <button type="button"[^>]*hidden aria-label="([^"]*)"', page)
    assert buttons == [
        ("Z1", "Copy zaapId"),
        ("M1", "Copy messageId"),
        ("order-7", "Copy customId"),
        ("I1", "Copy instanceId"),
        ("5544999999999", "Copy Phone"),
    ]
    assert "django_plugchat/copy.js" in page
    assert not re.search(r"<script(?![^>]* src=)[^>]*>", page)


def test_what_is_masked_can_not_be_copied(viewer):
    page = open_page(viewer, event(zaap_id="Z1", custom_id="pedido-5544999999999")).content.decode()
    assert re.findall(r'aria-label="(Copy[^"]*)"', page) == ["Copy zaapId"]


# What developers need


def test_the_payload_is_readable_and_harmless(trusted):
    attack = {"name": "<script>alert(1)</script>", "list": [1.5, "ção"]}
    page = open_page(trusted, event(payload=attack)).content.decode()
    assert "<script>alert" not in page
    assert html.escape("<script>alert(1)</script>") in page
    assert "ção" in page
    assert "1.5" in page
    assert "\n  &quot;list&quot;: [" in page


def test_no_payload_is_shown_to_who_may_not_see_numbers(viewer):
    text = text_of(open_page(viewer, event(payload={"secret": "thing"})))
    assert "thing" not in text
    assert "Only those who may see whole phone numbers" in text


def test_the_dispatch_of_an_event_is_told(viewer):
    failed = event(
        dispatch_status="exhausted", dispatch_attempts=5, dispatch_error="shop.receivers.heard: ValueError",
        dispatched_at=None,
    )  # fmt: skip
    text = text_of(open_page(viewer, failed))
    assert "Given up after 5 attempts" in text
    assert "shop.receivers.heard: ValueError" in text


def test_dispatch_again_is_offered_to_who_may(viewer):
    row = event()
    assert "Dispatch again" not in text_of(open_page(viewer, row))
    page = open_page(person("view_deliveryevent", "redispatch_deliveryevent"), row).content.decode()
    assert 'form="plugchat-redispatch"' in page
    assert f'name="_selected_action" value="{row.pk}"' in page


def test_an_event_that_is_gone_leads_back(viewer):
    assert viewer.get(f"{EVENTS}77/change/").status_code == 302


def test_long_errors_are_loaded_only_of_what_is_shown(viewer, monkeypatch):
    monkeypatch.setattr(message, "MAX_LINES", 2)
    rows = [
        event(
            zaap_id="SAME", message_id=f"M{number}", outcome="failed", error=f"{number}" * 900, received_at=at(number)
        )
        for number in range(5)
    ]
    with CaptureQueriesContext(connection) as queries:
        response = open_page(viewer, rows[4])
    assert [line.failure is not None for line in response.context["lines"]] == [True] * 3
    loaded = [query["sql"] for query in queries if '."error"' in query["sql"].replace("`", '"')]
    # The event itself, and those that are shown.
    assert len(loaded) == 2
