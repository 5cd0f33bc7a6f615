"""Whether a WhatsApp instance is connected: the newest news wins, in whatever order they come."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from django_plugchat import recording
from django_plugchat.models import Connection, DeliveryEvent, RejectedCallback
from django_plugchat.signals import connection_changed

from .databases import Interrupt, in_threads, raising
from .payloads import DISCONNECTED, SECRET_OF_NORTE, url_of

pytestmark = pytest.mark.django_db(transaction=True)

#: The one comes in seconds, the other in milliseconds.
SECONDS = 1_777_494_000


def disconnected(seconds: Any = SECONDS, **changes: Any) -> dict[str, Any]:
    return {"type": "DisconnectedCallback", "disconnected": True, "momment": seconds, "instanceId": "A"} | changes


def connected(seconds: int = SECONDS, **changes: Any) -> dict[str, Any]:
    return {
        "type": "ConnectedCallback",
        "connected": True,
        "momment": seconds * 1000 + 684,
        "instanceId": "A",
        "phone": "5544999999999",
        "isBusiness": False,
    } | changes


@pytest.fixture
def changes() -> Any:
    heard: list[tuple[str, str, bool]] = []

    def listen(sender: Any, connection: Connection, **kwargs: Any) -> None:
        assert sender is Connection
        assert not transaction.get_connection().in_atomic_block
        heard.append((connection.account, connection.instance_id, connection.is_connected))

    connection_changed.connect(listen)
    yield heard
    connection_changed.disconnect(listen)


def test_the_story_of_an_instance(post, changes):
    for body, said in [
        (disconnected(), "recorded"),
        (disconnected(), "duplicate"),
        (connected(), "recorded"),  # at the same second: what came later
        (connected(SECONDS + 60), "duplicate"),
        (disconnected(SECONDS + 59), "duplicate"),  # older than what is known
        (disconnected(SECONDS + 60), "recorded"),
    ]:
        assert post(body).json() == {"status": said}
    row = Connection.objects.get()
    assert (row.account, row.instance_id, row.is_connected) == ("default", "A", False)
    assert row.since == datetime.fromtimestamp(SECONDS + 60, UTC)
    assert changes == [("default", "A", False), ("default", "A", True), ("default", "A", False)]
    assert not DeliveryEvent.objects.exists()
    assert not RejectedCallback.objects.exists()


def test_since_when_it_is_connected(post):
    post(connected())
    post(connected(SECONDS + 60))
    assert Connection.objects.get().since == datetime.fromtimestamp(SECONDS, UTC)


def test_each_account_and_instance_has_its_own(post):
    post(connected())
    post(connected(instanceId="a"))
    post(disconnected(instanceId=None))
    post(disconnected(), url=url_of(SECRET_OF_NORTE))
    assert Connection.objects.count() == 4


@pytest.mark.parametrize("momment", [None, "x", 1, "in an hour", "in days"])
def test_a_moment_that_is_missing_or_ahead_is_now(post, momment):
    momment = {"in an hour": int(time.time()) + 3600, "in days": int(time.time()) + 10**6}.get(momment, momment)
    before = timezone.now() - timedelta(seconds=1)
    assert post(disconnected(momment)).json() == {"status": "recorded"}
    assert before <= Connection.objects.get().since <= timezone.now()
    # And silences nothing that follows.
    assert post(connected(momment=None)).json() == {"status": "recorded"}


def test_the_example_of_the_documentation_and_no_number(post):
    assert post(DISCONNECTED).json() == {"status": "recorded"}
    assert post(connected()).json() == {"status": "recorded"}
    for row in Connection.objects.values():
        assert "5544999999999" not in str(row)


def test_an_unusable_instance_is_refused_and_kept(post):
    assert post(connected(instanceId="A" * 256)).status_code == 400
    assert RejectedCallback.objects.get().errors == {"instanceId": ["max_length"]}


@pytest.mark.parametrize("error", [DataError("A"), UnicodeEncodeError("latin-1", "\u20ac", 0, 1, "A")])
def test_what_the_database_refuses_is_refused_and_kept(post, error):
    """As an instance in characters that a PostgreSQL in LATIN1 does not have."""
    with connection.execute_wrapper(Interrupt("INSERT", raising(error))):
        assert post(connected()).status_code == 400
    assert RejectedCallback.objects.get().reason == "database"


def test_a_row_that_goes_between_two_statements(post):
    post(disconnected())
    with connection.execute_wrapper(Interrupt("SELECT", Connection.objects.all().delete)):
        assert post(connected()).status_code == 200


def test_a_receiver_that_raises_changes_no_answer(post, caplog):
    def stumble(connection: Any, **kwargs: Any) -> None:
        raise ValueError(connection.instance_id)

    connection_changed.connect(stumble)
    try:
        assert post(connected()).json() == {"status": "recorded"}
    finally:
        connection_changed.disconnect(stumble)
    assert "raised ValueError" in caplog.text


def test_the_same_news_many_times_at_once(changes):
    report = recording.ConnectionReport("A", is_connected=False, occurred_at=None)
    receipt = recording.Receipt("default", "8a8fe4db")
    told = in_threads([lambda: recording.record(report, receipt)] * 16, 8)
    assert sorted(told) == [False] * 15 + [True]
    assert len(changes) == 1


def test_an_error_that_is_no_second_row(post):
    with connection.execute_wrapper(Interrupt("INSERT", raising(IntegrityError()))):
        assert post(connected()).status_code == 503
    assert not Connection.objects.exists()
