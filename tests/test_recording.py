"""What is refused is kept, counted, and tried again with the code of a later day."""

import json
from collections import Counter
from typing import Any

import pytest
from django.db import DataError, IntegrityError, OperationalError, connection

from django_plugchat import recording
from django_plugchat.conf import secret_id
from django_plugchat.models import Connection, DeliveryEvent, RejectedCallback

from .databases import Interrupt, in_threads, raising
from .payloads import (
    ATTENDANCE_FINISHED,
    EXAMPLE,
    READ_BY_ME,
    RETIRING_SECRET,
    SECRET,
    SECRET_OF_NORTE,
    STATUS_OF_TWO,
    url_of,
)
from .receivers import Receiver, connected

pytestmark = pytest.mark.django_db

RECEIPT = recording.Receipt("default", secret_id(SECRET))


def reject(body: Any, **changes: Any) -> RejectedCallback:
    """As an older version of the app refused it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert recording.reject(content, RECEIPT, **{"reason": "invalid", "errors": {}} | changes)
    return RejectedCallback.objects.latest("pk")


# Keeping


def test_a_repeated_refusal_is_counted(post):
    for _ in range(3):
        assert post(b"{").status_code == 400
    rejected = RejectedCallback.objects.get()
    assert rejected.times_received == 3
    assert rejected.last_received_at > rejected.received_at
    # Told is what the last one was refused for, and by which secret it came.
    RejectedCallback.objects.update(reason="invalid", errors={"phone": ["blank"]})
    assert post(b"{", url=url_of(RETIRING_SECRET)).status_code == 400
    rejected.refresh_from_db()
    assert (rejected.reason, rejected.errors) == ("not_json", {})
    assert rejected.secret_id == secret_id(RETIRING_SECRET)
    assert post(b"{", url=url_of(SECRET_OF_NORTE)).status_code == 400
    assert RejectedCallback.objects.for_account("norte").count() == 1


def test_statements_of_a_refusal(post, django_assert_num_queries):
    # Two of them each savepoint inside a test case's transaction.
    with django_assert_num_queries(7):
        assert post("{").status_code == 400
    with django_assert_num_queries(3):
        assert post("{").status_code == 400


def test_unknown_statuses_take_a_tenth_beside_real_refusals(post, plugchat):
    plugchat(MAX_REJECTED=10)
    for number in range(3):
        assert post(READ_BY_ME | {"status": f"NEW-{number}"}).json() == {"status": "ignored"}
    for number in range(11):
        assert post(f"{{{number}").status_code == 400
    kept = Counter(RejectedCallback.objects.values_list("reason", flat=True))
    assert kept == {"unknown_status": 1, "not_json": 10}


def test_over_the_limit_refusals_are_answered_and_logged_but_not_kept(post, plugchat, caplog):
    plugchat(MAX_REJECTED=2)
    for body in (b"{1", b"{2", b"{3", b"{1"):
        assert post(body).status_code == 400
    kept = RejectedCallback.objects.order_by("pk").values_list("times_received", flat=True)
    assert list(kept) == [2, 1]
    assert [record.name for record in caplog.records if "MAX_REJECTED" in record.getMessage()] == [
        "django_plugchat.recording"
    ]
    # The limit is each account's own.
    assert post(b"{1", url=url_of(SECRET_OF_NORTE)).status_code == 400
    assert RejectedCallback.objects.for_account("norte").count() == 1
    plugchat(MAX_REJECTED=0)
    assert post(b"{4").status_code == 400
    assert RejectedCallback.objects.for_account("default").count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_repetition_in_between():
    def reject_the_same() -> None:
        recording.reject(b"{", RECEIPT, reason="not_json", errors={})

    with connection.execute_wrapper(Interrupt("INSERT", reject_the_same)):
        assert recording.reject(b"{", RECEIPT, reason="not_json", errors={})
    assert RejectedCallback.objects.get().times_received == 2


def test_an_error_that_is_not_the_fingerprints():
    with connection.execute_wrapper(Interrupt("INSERT", raising(IntegrityError()))), pytest.raises(IntegrityError):
        recording.reject(b"{", RECEIPT, reason="not_json", errors={})
    assert not RejectedCallback.objects.exists()


# Replaying


@pytest.mark.django_db(transaction=True)
def test_replay():
    rejected = reject(EXAMPLE)
    reject(EXAMPLE)
    rejected.refresh_from_db()
    receiver = Receiver()
    with connected(receiver):
        (event,) = recording.replay(rejected)
    event.refresh_from_db()
    assert (event.account, event.payload, event.secret_id) == ("default", EXAMPLE, secret_id(SECRET))
    assert (event.received_at, event.last_received_at) == (rejected.received_at, rejected.last_received_at)
    assert event.times_received == 2
    assert event.dispatch_status == "done"
    assert receiver.heard == [event]
    assert not RejectedCallback.objects.exists()
    assert recording.replay(rejected) is None
    assert DeliveryEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_replay_of_a_status_of_several():
    rejected = reject(STATUS_OF_TWO)
    receiver = Receiver()
    with connected(receiver):
        events = recording.replay(rejected)
    assert {event.message_id for event in events} == set(STATUS_OF_TWO["ids"])
    assert {event.message_id for event in receiver.heard} == set(STATUS_OF_TWO["ids"])
    assert {event.received_at for event in events} == {rejected.received_at}
    assert not RejectedCallback.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_replay_of_a_connection():
    body = {"type": "DisconnectedCallback", "instanceId": "A"}
    assert recording.replay(reject(body)) == []
    assert Connection.objects.get().is_connected is False
    assert not RejectedCallback.objects.exists()


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", b'{"type": "ReceivedCallback"}', ATTENDANCE_FINISHED, READ_BY_ME, EXAMPLE | {"phone": []}],
)
def test_replay_of_what_is_still_refused(body):
    rejected = reject(body)
    before = RejectedCallback.objects.values().get()
    assert recording.replay(rejected) is None
    assert RejectedCallback.objects.values().get() == before
    assert not DeliveryEvent.objects.exists()


def test_replay_of_what_is_known(post):
    rejected = reject(STATUS_OF_TWO)
    post(STATUS_OF_TWO | {"ids": STATUS_OF_TWO["ids"][:1]})
    stored = DeliveryEvent.objects.get()
    events = recording.replay(rejected)
    assert len(events) == 2
    known = DeliveryEvent.objects.get(pk=stored.pk)
    assert (known.times_received, known.last_received_at, known.received_at) == (
        2,
        stored.last_received_at,
        stored.received_at,
    )
    assert not RejectedCallback.objects.exists()


def test_replay_that_the_database_fails():
    rejected = reject(EXAMPLE)
    with connection.execute_wrapper(Interrupt("INSERT", raising(OperationalError()))), pytest.raises(OperationalError):
        recording.replay(rejected)
    assert RejectedCallback.objects.get() == rejected
    assert recording.replay(rejected) is not None


def test_replay_that_the_database_still_refuses():
    rejected = reject(EXAMPLE)
    with connection.execute_wrapper(Interrupt("INSERT", raising(DataError()))):
        assert recording.replay(rejected) is None
    assert RejectedCallback.objects.get() == rejected


@pytest.mark.django_db(transaction=True)
def test_many_replays_of_one_at_once():
    rejected = reject(STATUS_OF_TWO)
    replayed = in_threads([lambda: recording.replay(rejected)] * 8, 8)
    assert len([events for events in replayed if events]) == 1
    assert set(DeliveryEvent.objects.values_list("times_received", flat=True)) == {1}
