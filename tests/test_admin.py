"""The screens: found, read, and changed by none, by what a person may see."""

from __future__ import annotations

import html
import json
import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_plugchat import admin as plugchat_admin
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.signals import delivery_recorded

from .conftest import EXAMPLE
from .rows import Status, event, events, rejected

pytestmark = pytest.mark.django_db

EVENTS = "/admin/django_plugchat/deliveryevent/"
REJECTED = "/admin/django_plugchat/rejectedcallback/"
VIEW = ("view_deliveryevent", "view_rejectedcallback")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")


@pytest.fixture
def logged_in():
    def logged_in(*permissions):
        user = User.objects.create_user(f"person-{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return logged_in


@pytest.fixture
def viewer(logged_in):
    return logged_in(*VIEW)


@pytest.fixture
def trusted(logged_in):
    return logged_in(*VIEW, "view_phone")


def rows_of(response):
    return list(response.context["cl"].result_list)


def found(client, **query):
    response = client.get(EVENTS, query)
    assert response.status_code == 200
    return {row.zaap_id for row in rows_of(response)}


def text_of(response):
    """What a person reads."""
    text = re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def post_action(client, url, action, *rows, **data):
    return client.post(
        url, {"action": action, "_selected_action": [row.pk for row in rows], **data}, follow=data.pop("follow", True)
    )


# Read-only


@pytest.mark.parametrize(("url", "make"), [(EVENTS, event), (REJECTED, rejected)])
def test_nobody_adds_or_changes_a_row(admin_client, url, make):
    row = make()
    assert admin_client.get(f"{url}add/").status_code == 403
    assert admin_client.post(f"{url}add/", {}).status_code == 403
    page = admin_client.get(f"{url}{row.pk}/change/")
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    assert admin_client.post(f"{url}{row.pk}/change/", {"account": "other"}).status_code == 403


@pytest.mark.parametrize(("url", "make"), [(EVENTS, event), (REJECTED, rejected)])
def test_deleting_needs_its_permission_and_the_history_has_no_number(logged_in, url, make):
    row = make()
    assert logged_in(*VIEW).post(f"{url}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    allowed = logged_in(*VIEW, "delete_deliveryevent", "delete_rejectedcallback")
    post_action(allowed, url, "delete_selected", row, post="yes")
    assert not type(row).objects.exists()
    assert EXAMPLE["phone"] not in LogEntry.objects.get().object_repr


@pytest.mark.parametrize("url", [EVENTS, f"{EVENTS}chart/", f"{EVENTS}export/", REJECTED])
def test_without_a_permission_nothing_is_shown(logged_in, url):
    assert logged_in().get(url).status_code == 403


# The list


def test_the_list_is_newest_first_and_shows_what_matters(trusted):
    now = timezone.now()
    event(zaap_id="OLDER", received_at=now - timedelta(hours=1))
    event(
        zaap_id="NEWER",
        custom_id="order-7",
        outcome="failed",
        error="Phone number does not exist",
        times_received=3,
        dispatch_status="done",
    )
    response = trusted.get(EVENTS)
    assert [row.zaap_id for row in rows_of(response)] == ["NEWER", "OLDER"]
    text = text_of(response)
    for shown in ("+55 44 9999-9999", "Not sent", "Phone number does not exist", "order-7", "Loja Centro", "Processed"):
        assert shown in text


def test_the_list_takes_as_many_queries_for_a_hundred_rows_as_for_one(viewer, django_assert_num_queries):
    event()
    # Session, user, the user's and the groups' permissions, capped count, rows.
    with django_assert_num_queries(6):
        viewer.get(EVENTS)
    events(120)
    with django_assert_num_queries(6) as queries:
        assert len(rows_of(viewer.get(EVENTS))) == 100
    assert not [query for query in queries if "payload" in query["sql"]]


def test_no_page_counts_to_the_end(admin_client, monkeypatch, settings):
    monkeypatch.setattr(plugchat_admin, "MAX_COUNTED", 150)
    events(155)
    with CaptureQueriesContext(connection) as queries:
        response = admin_client.get(EVENTS)
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert len(counts) == 1
    assert "LIMIT 151" in counts[0]
    assert "≥150" in text_of(response)
    assert len(rows_of(admin_client.get(EVENTS, {"p": 2}))) == 50
    settings.USE_THOUSAND_SEPARATOR = True
    monkeypatch.setattr(plugchat_admin, "MAX_COUNTED", 15)
    assert "≥15" in text_of(admin_client.get(EVENTS))


def test_an_account_is_shown_by_its_label_also_when_it_is_gone(viewer):
    event(account="norte")
    event(account="gone")
    text = text_of(viewer.get(EVENTS))
    assert "norte" in text
    assert "gone" in text


@pytest.mark.parametrize("order", ["1", "-8", "8.1", ""])
def test_no_other_order_is_taken(viewer, order):
    now = timezone.now()
    for minutes in (2, 0, 1):
        event(zaap_id=str(minutes), received_at=now - timedelta(minutes=minutes), times_received=minutes + 1)
    assert [row.zaap_id for row in rows_of(viewer.get(EVENTS, {"o": order}))] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"SENT", "NONEXISTENT", "BANNED", "ODD"}),
        ({"account": "norte"}, {"ODD"}),
        ({"outcome__exact": "sent"}, {"SENT"}),
        ({"outcome": "failed"}, {"NONEXISTENT", "BANNED", "ODD"}),
        ({"error": "Phone number does not exist"}, {"NONEXISTENT"}),
        ({"error": "SHADOW_BAN"}, {"BANNED"}),
        ({"error": "other"}, {"ODD"}),
        ({"dispatch_status__exact": "done"}, {"SENT"}),
        ({"dispatch_status": "none", "account": "default"}, {"NONEXISTENT", "BANNED"}),
    ],
)
def test_filters(viewer, query, expected):
    event(zaap_id="SENT", dispatch_status="done")
    event(zaap_id="NONEXISTENT", outcome="failed", error="Phone number does not exist")
    event(zaap_id="BANNED", outcome="failed", error="Not allowed", error_code="SHADOW_BAN")
    event(zaap_id="ODD", outcome="failed", error="Something else", account="norte")
    assert found(viewer, **query) == expected


@pytest.mark.parametrize(
    "lookup",
    ["phone__regex", "phone__startswith", "phone", "payload__phone", "error__icontains", "account__startswith"],
)
@pytest.mark.parametrize("page", [EVENTS, f"{EVENTS}chart/", REJECTED])
def test_only_declared_filters_are_taken(admin_client, page, lookup):
    event()
    assert admin_client.get(page, {lookup: "5"}).status_code == 400


@pytest.mark.parametrize("url", [EVENTS, REJECTED])
def test_the_parameters_of_every_filter_are_taken(admin_client, url):
    changelist = admin_client.get(url).context["cl"]
    plain = {name for spec in changelist.filter_specs for name in spec.expected_parameters() if "__isnull" not in name}
    assert plain <= changelist.model_admin.allowed_lookups


def test_days_begin_where_the_project_is(viewer, settings):
    settings.TIME_ZONE = "America/Sao_Paulo"
    midnight = datetime.now(SAO_PAULO).replace(hour=0, minute=0, second=0, microsecond=0)
    event(zaap_id="FIRST-OF-TODAY", received_at=midnight)
    event(zaap_id="LAST-OF-YESTERDAY", received_at=midnight - timedelta(microseconds=1))
    event(zaap_id="10-DAYS-AGO", received_at=midnight - timedelta(days=10))
    event(zaap_id="100-DAYS-AGO", received_at=midnight - timedelta(days=100))
    yesterday = str((midnight - timedelta(days=1)).date())
    assert found(viewer, received="today") == {"FIRST-OF-TODAY"}
    assert found(viewer, received="7") == {"FIRST-OF-TODAY", "LAST-OF-YESTERDAY"}
    assert found(viewer, received="30") == {"FIRST-OF-TODAY", "LAST-OF-YESTERDAY", "10-DAYS-AGO"}
    assert found(viewer, received_from=yesterday, received_to=yesterday) == {"LAST-OF-YESTERDAY"}
    assert found(viewer, received_to=yesterday) == {"LAST-OF-YESTERDAY", "10-DAYS-AGO", "100-DAYS-AGO"}
    assert found(viewer, received_from=yesterday, received_to="") == {"FIRST-OF-TODAY", "LAST-OF-YESTERDAY"}
    assert "America/Sao_Paulo" in text_of(viewer.get(EVENTS))


def test_days_begin_at_midnight_also_without_time_zones(viewer, settings):
    settings.USE_TZ = False
    now = datetime.now()
    event(zaap_id="NOW", received_at=now)
    event(zaap_id="OLD", received_at=now - timedelta(days=2))
    assert found(viewer, received="today") == {"NOW"}
    assert viewer.get(f"{EVENTS}chart/", {"received": "today"}).context["chart"].sent == 1


@pytest.mark.parametrize(
    "query", [{"received": "yesterday"}, {"received_from": "soon"}, {"received_to": "9999-12-31"}, {"p": "77"}]
)
def test_nonsense_in_the_address_leads_back_to_the_list(viewer, query):
    events(101)
    assert viewer.get(EVENTS, query, follow=True).status_code == 200
    assert viewer.get(f"{EVENTS}chart/", query).status_code == 400


def test_the_range_keeps_the_other_filters(viewer):
    event()
    page = viewer.get(EVENTS, {"outcome__exact": "sent", "received": "today", "q": ""})
    hidden = re.findall(
        r'<input form="plugchat-range" type="hidden" name="([^"]*)" value="([^"]*)"', page.content.decode()
    )
    assert hidden == [("outcome__exact", "sent"), ("q", "")]


# Search


@pytest.mark.parametrize(
    "term",
    [
        "A20DA9C0183A2D35A260F53F5D2B9244",
        "a20da9c0183a2d35a260f53f5d2b9244",
        " order-7 ",
        "3EB0EE5C811ACA0277C307",
        "554499999999",
        "5544999999999",
        "+55 (44) 9999-9999",
        "+55 (44) 99999-9999",
        "\u202a+55\u00a044\u00a099999\u20119999\u202c",
        "44 99999999",
        "(44) 99999-9999",
        "044 99999-9999",
    ],
)
def test_search_takes_what_a_person_has(trusted, term):
    event(
        zaap_id="A20DA9C0183A2D35A260F53F5D2B9244",
        custom_id="order-7",
        message_id="3EB0EE5C811ACA0277C307",
        phone="554499999999",
    )
    event(zaap_id="OTHER", phone="554488888888")
    assert found(trusted, q=term) == {"A20DA9C0183A2D35A260F53F5D2B9244"}


@pytest.mark.parametrize(
    ("phone", "term"),
    [
        ("120363019502650977-group", "120363019502650977-group"),
        ("120363019502650977-group", "120363019502650977"),
        ("123456789012345@lid", "123456789012345"),
        ("14155550123", "+1 415 555-0123"),
        ("5544999999999", "554499999999"),
    ],
)
def test_search_finds_groups_and_numbers_of_other_countries(viewer, phone, term):
    event(zaap_id="IT", phone=phone)
    assert found(viewer, q=term) == {"IT"}


@pytest.mark.parametrize("term", ["", "  "])
def test_a_blank_search_shows_all(viewer, term):
    event(zaap_id="IT", custom_id="")
    assert found(viewer, q=term) == {"IT"}


@pytest.mark.parametrize("term", ["44 99999999", "99999999", "9999", "+55 44 ****-9999"])
def test_who_may_not_see_numbers_finds_them_only_whole(viewer, term):
    event(zaap_id="IT")
    assert found(viewer, q="+55 (44) 99999-9999") == {"IT"}
    assert found(viewer, q=term) == set()


def test_search_walks_along_indexes(viewer):
    events(3000)
    with connection.cursor() as cursor:
        cursor.execute({"postgresql": "ANALYZE"}.get(connection.vendor, "SELECT 1"))
    with CaptureQueriesContext(connection) as queries:
        response = viewer.get(EVENTS, {"q": "554499998888"})
    plan = response.context["cl"].queryset[:100].explain()
    for column in ("zaap_id", "custom_id", "message_id", "phone"):
        assert f"plugchat_event_{column}" in plan
    searches = [query["sql"] for query in queries if "554499998888" in query["sql"]]
    assert searches
    for sql in searches:
        assert "UPPER(" not in sql
        assert "LIKE" not in sql


def test_an_empty_search_says_when_each_account_last_called(viewer):
    event(received_at=datetime(2026, 1, 2, 15, 4, tzinfo=SAO_PAULO))
    text = text_of(viewer.get(EVENTS, {"q": "nothing"}))
    assert "Loja Centro: Jan. 2, 2026, 3:04 p.m." in text
    assert "norte: never" in text


def test_without_accounts_an_empty_search_says_only_that(viewer, plugchat):
    plugchat(ACCOUNTS={})
    event()
    assert "Nothing found" in text_of(viewer.get(EVENTS, {"q": "nothing"}))


@pytest.mark.parametrize("accounts", [{}, {"default": {}}])
def test_an_empty_table_says_what_to_do_first(viewer, plugchat, accounts):
    plugchat(ACCOUNTS=accounts)
    text = text_of(viewer.get(EVENTS))
    assert "python manage.py plugchat_set_webhook" in text
    assert ("Configure an account" in text) is not bool(accounts)


# One event


@pytest.mark.parametrize(
    ("fields", "explained"),
    [
        ({"error": "Phone number does not exist"}, "This number has no WhatsApp."),
        ({"error": "Timeout on send message"}, "WhatsApp did not answer in time."),
        ({"error": "Whatsapp did not allow it", "error_code": "SHADOW_BAN"}, "WhatsApp restricts the sender."),
        ({"error": "Never heard of"}, "not known here"),
    ],
)
def test_errors_are_explained(viewer, fields, explained):
    failed = event(outcome="failed", **fields)
    assert explained in text_of(viewer.get(f"{EVENTS}{failed.pk}/change/"))


def test_what_was_sent_is_not_called_received(viewer):
    assert "does not yet say" in text_of(viewer.get(f"{EVENTS}{event().pk}/change/"))


def test_the_payload_is_readable_and_harmless(trusted):
    attack = {"name": "<script>alert(1)</script>", "list": [1e23, "ção"]}
    page = trusted.get(f"{EVENTS}{event(payload=attack).pk}/change/").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "ção" in page
    assert "1e+23" in page
    assert "\n  &quot;list&quot;: [" in page


def test_the_story_of_a_message_reads_from_top_to_bottom(viewer):
    start = timezone.now() - timedelta(days=1)
    shared = {"zaap_id": "SAME", "custom_id": "order-7", "message_id": "M1"}
    opened = event(**shared, received_at=start + timedelta(hours=2))
    same = [
        event(zaap_id="SAME", received_at=start),
        event(custom_id="order-7", received_at=start + timedelta(hours=1)),
        opened,
        event(
            message_id="M1", outcome="failed", error="Timeout on send message", received_at=start + timedelta(hours=3)
        ),
    ]
    event(zaap_id="SAME", account="norte")
    event(custom_id="", message_id="")
    response = viewer.get(f"{EVENTS}{opened.pk}/change/")
    assert [line["event"] for line in response.context["story"]] == same
    assert "(this one)" in text_of(response)
    assert "There is more" not in text_of(response)


def test_a_long_story_is_cut(viewer, monkeypatch):
    monkeypatch.setattr(plugchat_admin, "MAX_STORY", 3)
    told = events(5, zaap_id="SAME", custom_id="7")
    response = viewer.get(f"{EVENTS}{told[0].pk}/change/")
    assert len(response.context["story"]) == 3
    assert "the latest 3 events are shown" in text_of(response)


@pytest.mark.parametrize("url", [EVENTS, REJECTED])
def test_a_row_that_is_gone_leads_back(viewer, url):
    assert viewer.get(f"{url}77/change/", follow=True).status_code == 200


def test_the_dispatch_of_an_event_is_told(viewer):
    failed = event(dispatch_status="failed", dispatch_attempts=2, dispatch_error="shop.receivers.heard: ValueError")
    text = text_of(viewer.get(f"{EVENTS}{failed.pk}/change/"))
    assert "Processing failed" in text
    assert "shop.receivers.heard: ValueError" in text


# Privacy


def private_event():
    return event(
        phone="554499998888",
        custom_id="pedido-5544999998888",
        zaap_id="true_554499998888@c.us_3EB0",
        outcome="failed",
        error="no5544999998888: (44) 9999-8888 is not on WhatsApp",
        error_code="44999998888",
        payload={
            "phone": 554499998888,
            "participant": "5544999998888@c.us",
            "note": "call 9999-8888-123 or 11 98765-4321",
        },
    )


DIGITS = ("99998888", "87654321")


def leaks(page):
    """Which of the numbers are on it, however they are written."""
    bare = re.sub(r"[^0-9a-zA-Z<>*]", "", page)
    return [digits for digits in DIGITS if digits in bare]


@pytest.mark.parametrize("page", ["", "{}/change/", "{}/delete/", "{}/history/", "chart/", "export/"])
def test_numbers_are_masked_on_every_page(logged_in, page):
    private = private_event()
    client = logged_in(*VIEW, "export_deliveryevent", "delete_deliveryevent")
    response = client.get(EVENTS + page.format(private.pk))
    assert response.status_code == 200
    content = response.getvalue().decode()
    assert not leaks(content)
    assert "****-8888" in content


def test_whole_numbers_are_shown_to_who_may_see_them(trusted):
    private = private_event()
    text = text_of(trusted.get(f"{EVENTS}{private.pk}/change/"))
    assert "+55 44 9999-8888" in text
    assert "5544999998888@c.us" in text
    assert "pedido-5544999998888" in text
    assert "+55 44 9999-8888" in text_of(trusted.get(EVENTS))
    assert trusted.get(f"{EVENTS}chart/").context["chart"].errors[0]["text"].startswith("no5544999998888")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"phone": "\\u0035544999998888", "x": ["+55 (44) 99999-8888"]}', "****"),
        (b'{"phone": "5544999998888", "zaapId": "5544999998888', "****"),
        (b"[" * 5000, "[[[["),
        (b'["5544999998888"]', "+55 44 ****-8888"),
        (b'{"phone": null, "to": 5544999998888}', "+55 44 ****-8888"),
        (b"\xff 5544999998888", "\ufffd +55 44 ****-8888"),
    ],
)
def test_numbers_are_masked_in_rejected_bodies(logged_in, body, shown):
    page = logged_in(*VIEW).get(f"{REJECTED}{rejected(body).pk}/change/")
    assert shown in text_of(page)
    assert not leaks(page.content.decode())


def test_rejected_bodies_are_shown_as_they_came_to_who_may_see_numbers(trusted):
    body = '{"phone": "5544999998888", "name": "<b>ção</b>"'
    page = trusted.get(f"{REJECTED}{rejected(body.encode()).pk}/change/").content.decode()
    assert html.escape(body).replace("&#x27;", "&#39;") in page


# Rejected callbacks


def test_rejected_callbacks_say_what_is_wrong(viewer):
    row = rejected(errors={"phone": ["required"], "zaapId": ["max_length"], "type": ["odd"]})
    for page in (REJECTED, f"{REJECTED}{row.pk}/change/"):
        text = text_of(viewer.get(page))
        for sentence in ("phone is missing.", "zaapId is too long.", "type is unusable."):
            assert sentence in text
        assert "A field is missing or unusable" in text


def test_rejected_callbacks_are_filtered(viewer):
    event_time = timezone.now() - timedelta(days=3)
    rejected(received_at=event_time, reason="not_json")
    rejected(account="norte")
    assert len(rows_of(viewer.get(REJECTED, {"reason__exact": "not_json"}))) == 1
    assert len(rows_of(viewer.get(REJECTED, {"account": "norte", "received": "today"}))) == 1


def test_replay_needs_its_permission(viewer):
    row = rejected(json.dumps(EXAMPLE).encode())
    assert "Replay" not in text_of(viewer.get(f"{REJECTED}{row.pk}/change/"))
    post_action(viewer, REJECTED, "replay", row)
    assert not DeliveryEvent.objects.exists()


def test_replay_makes_events_of_what_can_be_read_now(logged_in):
    client = logged_in(*VIEW, "replay_rejectedcallback")
    good = [rejected(json.dumps(EXAMPLE | {"zaapId": str(number)}).encode()) for number in range(2)]
    bad = rejected(b"{}")
    assert "Replay" in text_of(client.get(f"{REJECTED}{bad.pk}/change/"))
    text = text_of(post_action(client, REJECTED, "replay", *good, bad))
    assert "2 callbacks are now events." in text
    assert "1 callback is still refused." in text
    assert list(RejectedCallback.objects.all()) == [bad]
    assert DeliveryEvent.objects.count() == 2


def test_a_replay_in_vain_is_told(logged_in):
    text = text_of(
        post_action(logged_in(*VIEW, "replay_rejectedcallback"), REJECTED, "replay", rejected(), rejected(b"["))
    )
    assert "2 callbacks are still refused." in text
    assert "now" not in text


def test_one_replay_is_told_in_the_singular(logged_in):
    row = rejected(json.dumps(EXAMPLE).encode())
    text = text_of(post_action(logged_in(*VIEW, "replay_rejectedcallback"), REJECTED, "replay", row))
    assert "1 callback is now an event." in text
    assert "refused." not in text


# Dispatch again


@pytest.fixture
def heard():
    heard = []

    def hear(event, **kwargs):
        heard.append(event.pk)

    delivery_recorded.connect(hear, sender=DeliveryEvent)
    yield heard
    delivery_recorded.disconnect(hear, sender=DeliveryEvent)


@pytest.fixture
def operator(logged_in):
    return logged_in(*VIEW, "redispatch_deliveryevent")


def test_dispatching_again_needs_its_permission(viewer, heard):
    done = event(dispatch_status="done")
    assert "Dispatch again" not in text_of(viewer.get(f"{EVENTS}{done.pk}/change/"))
    post_action(viewer, EVENTS, "redispatch", done, confirmed="yes")
    assert heard == []


def test_dispatching_again_asks_first(operator, heard, django_capture_on_commit_callbacks):
    chosen = [
        event(dispatch_status=status, dispatch_attempts=5, dispatch_error="Old")
        for status in ("done", "failed", "none")
    ]
    event(dispatch_status="done")
    assert "Dispatch again" in text_of(operator.get(f"{EVENTS}{chosen[0].pk}/change/"))
    with django_capture_on_commit_callbacks(execute=True):
        asked = post_action(operator, EVENTS, "redispatch", *chosen)
    assert "3 events will be handed to your code again" in text_of(asked)
    assert heard == []
    with django_capture_on_commit_callbacks(execute=True):
        told = post_action(operator, EVENTS, "redispatch", *chosen, confirmed="yes")
    assert "3 events are dispatched again." in text_of(told)
    assert sorted(heard) == [row.pk for row in chosen]
    for row in chosen:
        row.refresh_from_db()
        assert (row.dispatch_status, row.dispatch_attempts, row.dispatch_error) == ("done", 1, "")


def test_all_filtered_events_are_dispatched_again(operator, heard, django_capture_on_commit_callbacks):
    failed = events(3, dispatch_status=Status.FAILED)
    events(2, dispatch_status=Status.DONE)
    url = f"{EVENTS}?dispatch_status__exact=failed"
    asked = post_action(operator, url, "redispatch", failed[0], select_across="1")
    assert "3 events" in text_of(asked)
    assert b'name="select_across" value="1"' in asked.content
    with django_capture_on_commit_callbacks(execute=True):
        post_action(operator, url, "redispatch", failed[0], select_across="1", confirmed="yes")
    assert sorted(heard) == sorted(row.pk for row in failed)


def test_without_a_receiver_dispatching_again_does_nothing(operator):
    done = event(dispatch_status="done")
    text = text_of(post_action(operator, EVENTS, "redispatch", done, confirmed="yes"))
    assert "No receiver of delivery_recorded is connected" in text
    done.refresh_from_db()
    assert done.dispatch_status == "done"
