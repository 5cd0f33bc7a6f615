"""Rows, and the words of their querysets."""

from __future__ import annotations

import itertools
import json
import re
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent, Registration, RejectedCallback

from .payloads import EXAMPLE, LIVE_SUCCESS, SECRET_OF_NORTE, STATUS, STATUS_OF_TWO, url_of
from .rows import event as stored_event

pytestmark = pytest.mark.django_db

#: As the answer to the send request gives them.
ZAAP_ID, MESSAGE_ID = LIVE_SUCCESS["zaapId"], LIVE_SUCCESS["messageId"]


def test_migrations_are_complete():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_permissions():
    codenames = set(
        Permission.objects.filter(content_type__app_label="django_plugchat").values_list("codename", flat=True)
    )
    assert codenames >= {
        "view_phone",
        "export_deliveryevent",
        "redispatch_deliveryevent",
        "replay_rejectedcallback",
        "view_deliveryevent",
        "delete_rejectedcallback",
        "view_registration",
    }


def test_by_hand_in_tests():
    """Users make rows in their own tests: only what tells them apart is asked for."""
    event = DeliveryEvent.objects.create(phone=EXAMPLE["phone"], zaap_id="A", fingerprint=uuid4())
    assert event.received_at <= timezone.now()
    RejectedCallback.objects.create(body=b"{", fingerprint=uuid4())
    Registration.objects.create(account="default", webhook="update-webhook-delivery")
    with pytest.raises(IntegrityError), transaction.atomic():
        DeliveryEvent.objects.create(phone=EXAMPLE["phone"], zaap_id="A", fingerprint=event.fingerprint)


def test_nothing_private_is_shown_of_a_row():
    number = "5544999999999"
    rows = [
        DeliveryEvent(
            phone=number, zaap_id=f"false_{number}@c.us_3EB0", message_id=number, outcome="failed", error=number
        ),
        DeliveryEvent(phone=number, message_id=f"3EB0_{number}", outcome="read", type="MessageStatusCallback"),
        RejectedCallback(body=number.encode(), reason="not_json", pk=5),
        Registration(account="default", webhook="update-webhook-delivery", secret_id="8a8fe4db"),
    ]
    for row in rows:
        assert number not in f"{row} {row!r}"
    assert "3EB0" in str(rows[0])
    secrets = [*app_settings.index.confidential]
    assert len(secrets) == 5
    for shown in (app_settings.accounts, app_settings.index, app_settings):
        assert not [secret for secret in secrets if secret in repr(shown) + str(shown)]


def test_text_of_a_rejected_body():
    assert RejectedCallback(body=b'{"a": "\xff"}').body_text == '{"a": "\ufffd"}'
    assert RejectedCallback(body=memoryview(b"{")).body_text == "{"


@pytest.mark.parametrize(
    ("fields", "failure", "is_temporary"),
    [
        ({"outcome": "failed", "error": "timeout on send message."}, "temporary", True),
        ({"outcome": "failed", "error": "Phone number does not exist"}, "number", False),
        ({"outcome": "failed", "error": "Timeout on send message", "error_code": "SHADOW_BAN"}, "restricted", False),
        ({"outcome": "failed", "error": "something new"}, "other", False),
        ({"outcome": "failed", "error": "Polls not available to channels."}, "request", False),
        ({"outcome": "failed", "error": "Reactions NOT available to channels"}, "request", False),
        ({"outcome": "failed", "error": "Unsupported sticker format: image/heic"}, "media", False),
        ({"outcome": "failed", "error": '{"a": 1}'}, "other", False),
        ({"outcome": "sent", "error": ""}, "", False),
        ({"outcome": "sent", "error": "false"}, "", False),
        ({"outcome": "read"}, "", False),
    ],
)
def test_why_it_failed(fields, failure, is_temporary):
    event = stored_event(**fields)
    assert (event.failure, event.is_temporary) == (failure, is_temporary)
    if failure:
        assert DeliveryEvent.objects.failed_because(failure).get() == event


# Querysets


def test_words(post):
    post(EXAMPLE)
    post(EXAMPLE | {"customId": "", "error": "Timeout on send message", "zaapId": "B"})
    post(EXAMPLE, url=url_of(SECRET_OF_NORTE))
    for status in ("SENT", "RECEIVED", "READ", "PLAYED"):
        post(STATUS | {"status": status})
    events = DeliveryEvent.objects
    assert [event.account for event in events.for_account("norte")] == ["norte"]
    assert events.for_zaap_id("B").get().outcome == "failed"
    assert events.for_custom_id("123").count() == 2
    assert events.for_account("default").for_custom_id("123").sent().count() == 1
    assert events.failed().get() == events.failed_because("temporary").get()
    assert events.failed().get().zaap_id == "B"
    assert (events.sent().count(), events.received().count(), events.read().count()) == (3, 1, 1)
    assert (events.deliveries().count(), events.statuses().count()) == (3, 4)
    assert events.sent().deliveries().count() == 2
    assert not events.due().exists()
    assert not events.unfinished().exists()


def test_ids_that_are_integers(post):
    post(EXAMPLE | {"customId": 5, "zaapId": 7, "messageId": 9})
    event = DeliveryEvent.objects.get()
    for found in (
        DeliveryEvent.objects.for_custom_id(5),
        DeliveryEvent.objects.for_zaap_id(7),
        DeliveryEvent.objects.for_message(7),
        DeliveryEvent.objects.for_message(9),
    ):
        assert found.get() == event
    # Each under the key that it was asked by.
    assert DeliveryEvent.objects.progress(7, "9", 11, None) == {7: "sent", "9": "sent"}
    assert DeliveryEvent.objects.progress(7, "7") == {7: "sent", "7": "sent"}


@pytest.mark.parametrize("blank", ["", " ", "\t", None])
def test_blank_finds_nothing(post, blank):
    post(EXAMPLE | {"customId": "None", "zaapId": "None", "messageId": ""})
    post(EXAMPLE | {"customId": "", "messageId": None})
    post(STATUS)
    events = DeliveryEvent.objects
    for found in (
        events.for_custom_id(blank),
        events.for_zaap_id(blank),
        events.for_message(blank),
        events.for_message(blank, blank),
        events.for_message(),
        events.for_account("default").for_message(blank),
    ):
        assert not found.exists()
    assert events.progress(blank) == events.progress() == {}
    assert events.progress(blank, ZAAP_ID, MESSAGE_ID) == {MESSAGE_ID: "read"}
    assert not events.for_message(blank, "None").exclude(zaap_id="None").exists()


def test_a_queryset_has_no_writer(post):
    """The count of a repetition would run on filtered rows."""
    assert not hasattr(DeliveryEvent.objects, "record")
    assert not hasattr(DeliveryEvent.objects.failed(), "record")
    assert not hasattr(RejectedCallback.objects.all(), "record")
    assert not hasattr(RejectedCallback, "replay")


# A message's story


def test_for_message(post):
    post(LIVE_SUCCESS)
    post(STATUS_OF_TWO)
    post(STATUS | {"status": "RECEIVED"})
    post(EXAMPLE)
    events = DeliveryEvent.objects
    story = {"sent", "received", "read"}
    for ids in ((ZAAP_ID,), (MESSAGE_ID,), (ZAAP_ID, MESSAGE_ID), (MESSAGE_ID, None, "")):
        assert {event.outcome for event in events.for_message(*ids)} == story
        assert events.for_message(*ids).count() == 3
    assert events.for_message(STATUS_OF_TWO["ids"][1]).get().outcome == "read"
    assert events.for_message(ZAAP_ID, EXAMPLE["zaapId"]).count() == 4
    assert events.for_account("default").for_message(ZAAP_ID).read().count() == 1
    assert events.for_message(ZAAP_ID).for_account("default").count() == 3
    assert not events.for_account("norte").for_message(ZAAP_ID).exists()
    assert not events.for_message("unknown").exists()


def test_an_account_does_not_lend_its_ids(post):
    """The zaapId of one account leads to no status of another."""
    post(LIVE_SUCCESS, url=url_of(SECRET_OF_NORTE))
    post(STATUS)
    assert not DeliveryEvent.objects.for_account("default").for_message(ZAAP_ID).exists()
    assert DeliveryEvent.objects.for_account("default").progress(ZAAP_ID) == {}
    assert DeliveryEvent.objects.for_account("norte").progress(ZAAP_ID) == {ZAAP_ID: "sent"}


def test_blank_message_ids_join_nothing(post):
    """Delivery callbacks without a messageId, and statuses of whatever else."""
    post(EXAMPLE | {"messageId": ""})
    post(EXAMPLE | {"messageId": None, "zaapId": "B", "error": "x"})
    DeliveryEvent.objects.create(type="MessageStatusCallback", outcome="played", fingerprint=uuid4())
    assert DeliveryEvent.objects.for_message(EXAMPLE["zaapId"]).count() == 1
    assert DeliveryEvent.objects.progress(EXAMPLE["zaapId"], "B") == {EXAMPLE["zaapId"]: "sent", "B": "failed"}


def bodies_of(outcomes: tuple[str, ...]) -> list[dict[str, Any]]:
    deliveries = {"sent": LIVE_SUCCESS, "failed": LIVE_SUCCESS | {"error": "Timeout on send message"}}
    return [deliveries.get(outcome) or STATUS | {"status": outcome.upper()} for outcome in outcomes]


@pytest.mark.parametrize(
    ("outcomes", "furthest"),
    [
        (("sent",), "sent"),
        (("failed",), "failed"),
        (("sent", "failed"), "failed"),
        (("sent", "failed", "received"), "received"),
        (("sent", "received", "read"), "read"),
        (("failed", "read", "received"), "read"),
        (("sent", "played", "read", "received"), "played"),
    ],
)
def test_progress_never_goes_back(post, outcomes, furthest):
    for order in itertools.islice(itertools.permutations(outcomes), 24):
        DeliveryEvent.objects.all().delete()
        for body in bodies_of(order):
            post(body)
        assert DeliveryEvent.objects.progress(ZAAP_ID) == {ZAAP_ID: furthest}
        assert DeliveryEvent.objects.progress(MESSAGE_ID, ZAAP_ID) == {ZAAP_ID: furthest, MESSAGE_ID: furthest}


def test_progress_of_statuses_alone(post):
    """Their delivery callback was lost."""
    post(STATUS)
    assert DeliveryEvent.objects.progress(ZAAP_ID, MESSAGE_ID) == {MESSAGE_ID: "read"}


def test_progress_of_messages_that_share_an_id(post):
    """One's zaapId is the other's messageId: each has its own statuses."""
    post(EXAMPLE | {"zaapId": "X", "messageId": "Y"})
    post(EXAMPLE | {"zaapId": "Z", "messageId": "X"})
    post(STATUS | {"ids": ["X"], "status": "READ"})
    assert DeliveryEvent.objects.progress("Y", "Z") == {"Y": "sent", "Z": "read"}
    assert DeliveryEvent.objects.progress("Y") == {"Y": "sent"}


def test_progress_of_groups(post):
    """Whoever of a group came furthest."""
    post(STATUS | {"participant": "1", "status": "RECEIVED"})
    post(STATUS | {"participant": "2", "status": "READ"})
    assert DeliveryEvent.objects.progress(MESSAGE_ID) == {MESSAGE_ID: "read"}


def test_progress_is_one_statement(post, django_assert_num_queries):
    post(LIVE_SUCCESS)
    post(STATUS)
    ids = [f"{number}" for number in range(500)]
    with django_assert_num_queries(1):
        assert DeliveryEvent.objects.progress(ZAAP_ID, *ids) == {ZAAP_ID: "read"}
    with django_assert_num_queries(1):
        assert DeliveryEvent.objects.for_account("default").order_by("phone").progress(ZAAP_ID) == {ZAAP_ID: "read"}
    with django_assert_num_queries(0):
        DeliveryEvent.objects.progress()


# Indexes


@pytest.fixture
def twenty_thousand_rows():
    """A quarter delivery callbacks, the rest their statuses, so that a database has a reason to use its indexes."""
    now = timezone.now()

    def rows() -> Any:
        for number in range(5000):
            common = {"account": "default", "message_id": f"M{number}", "received_at": now, "secret_id": "8a8fe4db"}
            outcomes = ["sent" if number % 10 else "failed", "received", "read", "played"]
            for place, outcome in enumerate(outcomes):
                yield DeliveryEvent(
                    **common,
                    zaap_id="" if place else f"Z{number}",
                    custom_id="" if place else f"C{number}",
                    type="MessageStatusCallback" if place else "DeliveryCallback",
                    outcome=outcome,
                    fingerprint=uuid4(),
                )

    DeliveryEvent.objects.bulk_create(rows(), batch_size=2000)
    if connection.vendor == "sqlite":
        call_command("plugchat_prune", stdout=StringIO())
        return
    with connection.cursor() as cursor:
        cursor.execute(
            {
                "postgresql": "ANALYZE django_plugchat_deliveryevent",
                "mysql": "ANALYZE TABLE django_plugchat_deliveryevent",
            }[connection.vendor]
        )


def too_much_read(statement: str) -> list[str]:
    """The steps of a statement's plan that read a whole table, or all of an account or a type."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"EXPLAIN {statement}")
            return [line for (line,) in cursor.fetchall() if re.search("Seq Scan|rows=[0-9]{4,} ", line)]
        if connection.vendor == "mysql":
            cursor.execute(f"EXPLAIN {statement}")
            assert cursor.description is not None
            names = [column[0] for column in cursor.description]
            steps = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            return [json.dumps(step, default=str) for step in steps if int(step["rows"] or 0) > 2000]
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
        return [
            detail
            for *_numbers, detail in cursor.fetchall()
            if re.search("^(SCAN|SEARCH) (django_plugchat|U0)", detail)
            and not re.search(r"event_(zaap_id|message_id|custom_id|due) ", detail)
        ]


@pytest.mark.django_db(transaction=True)  # MariaDB's ANALYZE commits
def test_messages_are_found_by_indexes(twenty_thousand_rows, django_assert_num_queries):
    events = DeliveryEvent.objects.all()
    ids = [f"{kind}{number}" for number in range(0, 50, 5) for kind in "ZM"]
    with django_assert_num_queries(4) as captured:
        assert set(events.progress("Z7", "M8", "Z10").values()) == {"played"}
        assert len(events.for_account("default").progress(*ids)) == 20
        assert len(events.for_message("Z7")) == 4  # asks twice
    statements = [query["sql"] for query in captured.captured_queries]
    for queryset in (events.for_zaap_id("Z7"), events.for_custom_id("C7"), events.due()):
        with django_assert_num_queries(1) as captured:
            list(queryset)
        statements.append(captured.captured_queries[0]["sql"])
    for statement in statements:
        assert not too_much_read(statement)
