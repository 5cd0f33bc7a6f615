"""Rows, and the words of their querysets."""

import itertools
import json
import re
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from django_plugchat.conf import Configured, app_settings
from django_plugchat.models import Connection, DeliveryEvent, Notice, Registration, RejectedCallback, WebhookSecret

from .payloads import EXAMPLE, LIVE_SUCCESS, SECRET_OF_NORTE, STATUS, STATUS_OF_TWO, url_of
from .rows import event as stored_event, status

pytestmark = pytest.mark.django_db

#: As the answer to the send request gives them.
ZAAP_ID, MESSAGE_ID = LIVE_SUCCESS["zaapId"], LIVE_SUCCESS["messageId"]


def test_migrations_are_complete():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_by_hand_in_tests():
    """Users make rows in their own tests: only what tells them apart is asked for."""
    event = DeliveryEvent.objects.create(phone=EXAMPLE["phone"], zaap_id="A", fingerprint=uuid4())
    assert event.received_at <= timezone.now()
    RejectedCallback.objects.create(body=b"{", fingerprint=uuid4())
    Registration.objects.create(account="default", webhook="update-webhook-delivery")
    with pytest.raises(IntegrityError), transaction.atomic():
        DeliveryEvent.objects.create(phone=EXAMPLE["phone"], zaap_id="A", fingerprint=event.fingerprint)


def test_nothing_private_is_shown_of_a_row(settings):
    number = "5544999999999"
    rows = [
        DeliveryEvent(
            phone=number, zaap_id=f"false_{number}@c.us_3EB0", message_id=number, outcome="failed", error=number
        ),
        DeliveryEvent(phone=number, message_id=f"3EB0_{number}", outcome="read", type="MessageStatusCallback"),
        RejectedCallback(body=number.encode(), reason="not_json", pk=5),
        Registration(account="default", webhook="update-webhook-delivery", secret_id="8a8fe4db"),
        Connection(account="default", instance_id=number, is_connected=True),
        WebhookSecret(secret_id="8a8fe4db", digest=number),
        Notice(account="default", finding="silent", target=number),
    ]
    for row in rows:
        assert number not in f"{row} {row!r}"
    assert str(rows[1]) == "+55 ****99 (Read)"
    secrets = [*app_settings.confidential]
    assert len(secrets) == 5
    for shown in (app_settings.accounts, Configured.from_setting(settings.PLUGCHAT), app_settings):
        assert not [secret for secret in secrets if secret in repr(shown) + str(shown)]


def test_text_of_a_rejected_body():
    assert RejectedCallback(body=b'{"a": "\xff"}').body_text == '{"a": "\ufffd"}'
    assert RejectedCallback(body=memoryview(b"{")).body_text == "{"


@pytest.mark.parametrize(
    ("fields", "failure", "is_temporary"),
    [
        ({"outcome": "failed", "error": "timeout on send message."}, "temporary", True),
        ({"outcome": "failed", "error": "Timeout on send message", "error_code": "SHADOW_BAN"}, "restricted", False),
        ({"outcome": "failed", "error": "something new"}, "other", False),
        ({"outcome": "failed", "error": "Reactions NOT available to channels"}, "request", False),
        ({"outcome": "failed", "error": "Unsupported sticker format: image/heic"}, "media", False),
        ({"outcome": "sent", "error": "false"}, "", False),
    ],
)
def test_why_it_failed(fields, failure, is_temporary):
    event = stored_event(**fields)
    assert (event.failure, event.is_temporary) == (failure, is_temporary)
    if failure:
        assert DeliveryEvent.objects.filter(failure=failure).get() == event


# Querysets


def test_words(post):
    post(EXAMPLE)
    post(EXAMPLE | {"customId": "", "error": "Timeout on send message", "zaapId": "B"})
    post(EXAMPLE, url=url_of(SECRET_OF_NORTE))
    for told in ("SENT", "RECEIVED", "READ", "PLAYED"):
        post(STATUS | {"status": told})
    events = DeliveryEvent.objects
    assert [event.account for event in events.for_account("norte")] == ["norte"]
    assert events.for_zaap_id("B").get().outcome == "failed"
    assert events.for_custom_id("123").count() == 2
    assert events.for_account("default").for_custom_id("123").sent().count() == 1
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


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_progress_of_a_zaap_id_that_was_tried_several_times(order):
    """The first callbacks of a message that timed out have no messageId yet. All are rows of one message."""
    tries = [
        {"outcome": "failed", "error": "Timeout on send message"},
        {"outcome": "failed", "error": "Error on send message"},
        {"message_id": "M"},
    ]
    for number in order:
        stored_event(zaap_id="Z", **tries[number])
    events = DeliveryEvent.objects
    for told, furthest in ((None, "failed"), ("sent", "failed"), ("received", "received"), ("read", "read")):
        if told:
            status(told, "M")
        assert events.progress("Z", "M") == {"Z": furthest, "M": furthest}
        assert {message.progress for message in events.messages()} == {furthest}
        assert events.came_to(furthest).count() == 3
        assert {message.reached_at is None for message in events.messages()} == {furthest == "failed"}


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


def test_ids_are_compared_as_they_are():
    """Also on MariaDB, whose usual collations ignore case and spaces at the end."""
    stored_event(zaap_id="Zaap1", message_id="MaB3")
    status("read", "mab3")
    status("played", "MaB3 ")
    status("played", "MáB3")
    events = DeliveryEvent.objects
    assert events.progress("Zaap1", "MaB3", "mab3", "zaap1") == {"Zaap1": "sent", "MaB3": "sent", "mab3": "read"}
    assert [message.progress for message in events.messages()] == ["sent"]
    assert events.for_message("Zaap1").count() == 1


def test_what_has_no_outcome_says_nothing():
    """Users make rows in their own tests."""
    stored_event(zaap_id="Z", message_id="M", outcome="")
    assert DeliveryEvent.objects.progress("Z", "M") == {}


# Messages, each with its progress


def test_messages_say_how_far_and_since_when():
    start = timezone.now().replace(microsecond=0) - timedelta(hours=5)
    hours = [start + timedelta(hours=number) for number in range(5)]
    stored_event(zaap_id="READ", message_id="M1", received_at=hours[0])
    status("sent", "M1", received_at=hours[1])
    status("read", "M1", received_at=hours[4], occurred_at=hours[3])
    status("received", "M1", received_at=hours[2])
    stored_event(zaap_id="SENT", message_id="M2")
    stored_event(zaap_id="UNREAD", message_id="M3")
    status("received", "M3", received_at=hours[1])
    stored_event(zaap_id="FAILED", outcome="failed")
    # In a group the first of the participants counts.
    stored_event(zaap_id="GROUP", message_id="M4")
    status("received", "M4", participant="1", received_at=hours[1])
    status("received", "M4", participant="2", received_at=hours[2])
    status("played", "M4", participant="2", received_at=hours[3])
    # Whoever read it has received it.
    stored_event(zaap_id="READ-ALONE", message_id="M5")
    status("read", "M5", received_at=hours[1])
    status("read", "without a delivery callback")
    found = DeliveryEvent.objects.for_account("default").messages()
    assert {message.zaap_id: (message.progress, message.reached_at, message.read_at) for message in found} == {
        "READ": ("read", hours[2], hours[3]),
        "SENT": ("sent", None, None),
        "UNREAD": ("received", hours[1], None),
        "FAILED": ("failed", None, None),
        "GROUP": ("played", hours[1], hours[3]),
        "READ-ALONE": ("read", hours[1], hours[1]),
    }
    assert found.filter(reached_at=None).count() == 2


def test_messages_of_two_accounts_that_have_the_same_ids():
    for account in ("default", "norte"):
        stored_event(zaap_id="Z", message_id="M", account=account)
    status("read", "M", account="norte")
    events = DeliveryEvent.objects
    assert dict(events.messages().values_list("account", "progress")) == {"default": "sent", "norte": "read"}
    assert events.for_account("default").progress("Z", "M") == {"Z": "sent", "M": "sent"}
    assert events.came_to("read").get().account == "norte"


HOURS_AGO = timezone.now() - timedelta(hours=5)


def undelivered(**options):
    found = DeliveryEvent.objects.undelivered(older_than=timedelta(hours=2), **options)
    return {message.zaap_id for message in found}


def test_what_nobody_received():
    stored_event(zaap_id="RECEIVED", message_id="M1", received_at=HOURS_AGO)
    status("received", "M1")
    stored_event(zaap_id="UNDELIVERED", message_id="M2", received_at=HOURS_AGO)
    status("sent", "M2")
    stored_event(zaap_id="YOUNG", message_id="M3")
    stored_event(zaap_id="FAILED", message_id="M4", outcome="failed", received_at=HOURS_AGO)
    stored_event(zaap_id="WITHOUT-A-MESSAGE-ID", received_at=HOURS_AGO)
    stored_event(zaap_id="OTHER-ACCOUNT", message_id="M5", account="norte", received_at=HOURS_AGO)
    assert undelivered() == {"UNDELIVERED"}
    assert {message.zaap_id for message in DeliveryEvent.objects.undelivered()} == {"UNDELIVERED", "YOUNG"}
    assert not DeliveryEvent.objects.for_account("norte").undelivered().exists()


def test_where_no_status_comes_nobody_is_told_to_have_received_nothing():
    stored_event(zaap_id="Z", message_id="M", received_at=HOURS_AGO)
    assert undelivered() == set()
    status("sent", "other")  # also comes where the phone is off
    assert undelivered() == set()
    status("read", "another", received_at=timezone.now() - timedelta(days=6))
    assert undelivered() == {"Z"}
    assert undelivered(since=timedelta(days=5)) == set()


@pytest.mark.parametrize(
    ("connection", "of_message", "expected"),
    [
        ({"instance_id": "A", "is_connected": True}, "A", {"Z"}),
        ({"instance_id": "A", "is_connected": False}, "A", set()),
        ({"instance_id": "B", "is_connected": False}, "A", {"Z"}),
        ({"instance_id": "A", "is_connected": False, "account": "norte"}, "A", {"Z"}),
        # Where one of them has no id, there is but one instance.
        ({"instance_id": "", "is_connected": False}, "A", set()),
        ({"instance_id": "A", "is_connected": False}, "", set()),
    ],
)
def test_while_an_instance_is_disconnected_it_is_the_channel(connection, of_message, expected):
    Connection.objects.create(**{"account": "default", "since": HOURS_AGO} | connection)
    status("received", "other")
    stored_event(zaap_id="Z", message_id="M", instance_id=of_message, received_at=HOURS_AGO)
    assert undelivered() == expected


class Replica:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"


def test_what_users_decide_by_is_read_where_it_is_written(settings):
    settings.DATABASE_ROUTERS = ["tests.test_models.Replica"]
    stored_event(zaap_id="Z", message_id="M")
    events = DeliveryEvent.objects
    assert events.progress("Z") == {"Z": "sent"}
    assert events.for_message("Z").db == events.undelivered().db == "default"
    assert events.messages().db == "replica"
    assert events.using("default").for_message("Z").db == "default"


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
