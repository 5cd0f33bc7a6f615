from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import DataError, OperationalError, connection
from django.utils import timezone

from django_plugchat.models import DeliveryEvent, RejectedCallback

from .conftest import EXAMPLE
from .test_dispatch import Receiver, connected
from .test_storing import Interrupt, in_threads, raising

pytestmark = pytest.mark.django_db


def reject(body: bytes) -> RejectedCallback:
    rows = RejectedCallback.objects
    assert rows.record(account="default", secret_id="8a8fe4db", body=body, reason="not_json", errors={})
    return rows.latest("pk")


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
    }


def test_querysets(post):
    post(EXAMPLE)
    post(EXAMPLE | {"customId": "", "error": "Timeout on send message", "zaapId": "B"})
    post(EXAMPLE, url="/plugchat/callback/secret-of-the-account-norte/")
    events = DeliveryEvent.objects
    assert [event.account for event in events.for_account("norte")] == ["norte"]
    assert events.for_zaap_id("B").get().outcome == "failed"
    assert events.for_custom_id("123").count() == 2
    assert events.for_account("default").for_custom_id("123").sent().count() == 1
    assert events.failed().get().zaap_id == "B"
    post(EXAMPLE | {"customId": 5, "zaapId": 7})
    assert events.for_custom_id(5).get() == events.for_zaap_id(7).get()
    post(EXAMPLE | {"customId": "None", "zaapId": "None"})
    for blank in ("", " ", None):
        assert not events.for_custom_id(blank).exists()
        assert not events.for_zaap_id(blank).exists()
    assert not events.due().exists()


def test_text_of_a_rejected_body():
    assert reject(b'{"a": "\xff"}').body_text == '{"a": "\ufffd"}'
    assert str(reject(b"{")) == f"{reject(b'{').pk} (Not JSON in UTF-8)"


# Replay


@pytest.mark.django_db(transaction=True)
def test_replay():
    rejected = reject(json.dumps(EXAMPLE).encode())
    reject(json.dumps(EXAMPLE).encode())
    rejected.refresh_from_db()
    receiver = Receiver()
    with connected(receiver):
        event = rejected.replay()
    event.refresh_from_db()
    assert (event.account, event.payload, event.secret_id) == ("default", EXAMPLE, "8a8fe4db")
    assert (event.received_at, event.last_received_at) == (rejected.received_at, rejected.last_received_at)
    assert event.times_received == 2
    assert event.dispatch_status == "done"
    assert receiver.heard == [event]
    assert not RejectedCallback.objects.exists()
    assert rejected.replay() is None
    assert DeliveryEvent.objects.count() == 1


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"type": "ReceivedCallback"}', json.dumps(EXAMPLE | {"phone": []}).encode()]
)
def test_replay_of_what_is_still_refused(body):
    rejected = reject(body)
    before = RejectedCallback.objects.values().get()
    assert rejected.replay() is None
    assert RejectedCallback.objects.values().get() == before
    assert not DeliveryEvent.objects.exists()


def test_replay_of_a_known_event(post):
    rejected = reject(json.dumps(EXAMPLE).encode())
    post(EXAMPLE)
    stored = DeliveryEvent.objects.get()
    assert rejected.replay() == stored
    event = DeliveryEvent.objects.get()
    assert (event.times_received, event.last_received_at) == (2, stored.last_received_at)
    assert not RejectedCallback.objects.exists()


def test_replay_that_the_database_fails():
    rejected = reject(json.dumps(EXAMPLE).encode())
    with connection.execute_wrapper(Interrupt("INSERT", raising(OperationalError()))), pytest.raises(OperationalError):
        rejected.replay()
    assert RejectedCallback.objects.get() == rejected
    assert rejected.replay() is not None


def test_by_hand_in_tests():
    """Users make rows in their own tests: only what tells them apart is asked for."""
    event = DeliveryEvent.objects.create(phone=EXAMPLE["phone"], zaap_id="A", fingerprint="a")
    assert event.received_at <= timezone.now()
    RejectedCallback.objects.create(body=b"{", fingerprint="a")


def test_replay_that_the_database_still_refuses():
    rejected = reject(json.dumps(EXAMPLE).encode())
    with connection.execute_wrapper(Interrupt("INSERT", raising(DataError()))):
        assert rejected.replay() is None
    assert RejectedCallback.objects.get() == rejected


@pytest.mark.django_db(transaction=True)
def test_many_replays_of_one_at_once():
    rejected = reject(json.dumps(EXAMPLE).encode())
    events = in_threads([rejected.replay] * 8, 8)
    assert len([event for event in events if event]) == 1
    assert DeliveryEvent.objects.get().times_received == 1
