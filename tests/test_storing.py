"""Each event once, whatever happens meanwhile; and what the database's faults are answered with."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    transaction,
)
from django.db.models.signals import post_save, pre_save
from django.test import Client

from django_plugchat import recording
from django_plugchat.models import DeliveryEvent, RejectedCallback

from .databases import Interrupt, in_threads, kill_connection, raising, switching
from .payloads import DISCONNECTED, EXAMPLE, LIVE_ERROR, STATUS, STATUS_OF_TWO, URL, url_of
from .receivers import Receiver, connected

pytestmark = pytest.mark.django_db(transaction=True)

TWO_HUNDRED_IDS = [f"3EB0{number:016}" for number in range(200)]


def post_in_thread(body: Any) -> Callable[[], tuple[int, Any]]:
    def call() -> tuple[int, Any]:
        response = Client().post(URL, body, content_type="application/json")
        return response.status_code, response.json().get("status")

    return call


# Statements


def test_statements_of_an_event(post, django_assert_num_queries):
    for body in (EXAMPLE, STATUS):
        with django_assert_num_queries(1):
            assert post(body).json() == {"status": "recorded"}
        with django_assert_num_queries(1):
            assert post(body).json() == {"status": "duplicate"}
    many = STATUS | {"ids": TWO_HUNDRED_IDS}
    for said in ("recorded", "duplicate"):
        with django_assert_num_queries(1):
            assert post(many).json() == {"status": said}
    for body in (LIVE_ERROR, STATUS | {"status": "PLAYED"}):
        with connected(Receiver()), django_assert_num_queries(2):
            assert post(body).json() == {"status": "recorded"}


def test_statements_of_what_is_not_stored(post, django_assert_num_queries, django_assert_max_num_queries):
    with django_assert_max_num_queries(1):  # are there accounts in the database? Asked once in 30 seconds.
        assert post(EXAMPLE, url=url_of("wrong")).status_code == 404
    with django_assert_num_queries(0):
        assert post(EXAMPLE, url=url_of("wrong")).status_code == 404
        assert post({"type": "ReceivedCallback"}).json() == {"status": "ignored"}
        assert post("a", content_type="text/plain").status_code == 415
        assert post("[" * 70_000).status_code == 413


def test_a_thousand_accounts_cost_no_statement_more(post, plugchat, settings, django_assert_num_queries):
    others = {f"account{number}": {"WEBHOOK_SECRETS": [f"secret-of-account-{number:06}"]} for number in range(1000)}
    plugchat(ACCOUNTS=settings.PLUGCHAT["ACCOUNTS"] | others)
    with django_assert_num_queries(1):
        assert post(EXAMPLE, url=url_of("secret-of-account-000999")).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.get().account == "account999"


# Concurrency


@pytest.mark.parametrize("body", [EXAMPLE, STATUS, STATUS_OF_TWO], ids=["delivery", "status", "two"])
def test_identical_posts_at_once(body):
    answers = in_threads([post_in_thread(body)] * 32, 32)
    assert Counter(answers) == {(200, "recorded"): 1, (200, "duplicate"): 31}
    counts = set(DeliveryEvent.objects.values_list("times_received", flat=True))
    assert counts == {32}


def test_64_connections_mixed():
    """New, repeated and changed callbacks: no deadlock, no lost count."""
    bodies = [EXAMPLE | {"customId": f"{n % 16}", "error": ["", "Timeout"][n // 16 % 2]} for n in range(512)]
    answers = in_threads([post_in_thread(body) for body in bodies], 64)
    assert Counter(answers) == {(200, "recorded"): 32, (200, "duplicate"): 480}
    assert list(DeliveryEvent.objects.values_list("times_received", flat=True)) == [16] * 32


def test_statuses_of_many_messages_in_opposite_order():
    """Each waits for rows of the other: in one order, none waits for ever."""
    forwards, backwards = (STATUS | {"ids": ids} for ids in (TWO_HUNDRED_IDS, TWO_HUNDRED_IDS[::-1]))
    for times in range(2, 12, 2):
        answers = in_threads([post_in_thread(forwards), post_in_thread(backwards)], 2)
        assert Counter(status for status, _said in answers) == {200: 2}
        assert set(DeliveryEvent.objects.values_list("times_received", flat=True)) == {times}
    assert DeliveryEvent.objects.count() == 200


@pytest.mark.parametrize("number", [4, 50])
def test_statuses_that_overlap(number):
    """Each id in several callbacks of many connections, some known, some new, in any order."""
    ids = [f"3EB0{n:016}" for n in range(number)]
    bodies = [STATUS | {"ids": random.sample(ids, number // 2)} for _ in range(100)]
    answers = in_threads([post_in_thread(body) for body in bodies], 16)
    assert {status for status, _said in answers} == {200}
    counts = Counter(message_id for body in bodies for message_id in body["ids"])
    assert dict(DeliveryEvent.objects.values_list("message_id", "times_received")) == counts


def test_a_flood_of_different_refusals(plugchat):
    plugchat(MAX_REJECTED=10)
    answers = in_threads([post_in_thread(f"{{{n}") for n in range(64)], 16)
    assert Counter(answers) == {(400, None): 64}
    assert 10 <= RejectedCallback.objects.count() < 10 + 16  # as many more as look at once


def test_one_refusal_many_times_at_once():
    answers = in_threads([post_in_thread("{")] * 32, 16)
    assert Counter(answers) == {(400, None): 32}
    assert RejectedCallback.objects.get().times_received == 32


# Faults


def assert_unavailable(response: Any) -> None:
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert list(response.json()) == ["detail"]


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, InternalError, Error])
@pytest.mark.parametrize(
    ("body", "start"), [(EXAMPLE, "INSERT"), (STATUS_OF_TWO, "INSERT"), ("{", "UPDATE"), ("{", "SELECT")]
)
def test_faults_of_the_database(post, caplog, error, body, start):
    with connection.execute_wrapper(Interrupt(start, raising(error("row (554499999999)")), times=2)):
        assert_unavailable(post(body))
    assert not DeliveryEvent.objects.exists()
    assert not RejectedCallback.objects.exists()
    assert "554499999999" not in caplog.text
    own = [record.getMessage() for record in caplog.records if record.name == "django_plugchat.views"]
    assert error.__name__ in own[-1]
    assert post(body).status_code in {200, 400}


@pytest.mark.parametrize("body", [EXAMPLE, STATUS_OF_TWO], ids=["one", "two"])
def test_deadlocks(post, body):
    """MariaDB's number."""
    deadlock = OperationalError(1213, "Deadlock found")
    with connection.execute_wrapper(Interrupt("INSERT", raising(deadlock), times=3)):
        assert post(body).json() == {"status": "recorded"}
    with connection.execute_wrapper(Interrupt("INSERT", raising(deadlock), times=100)):
        assert_unavailable(post(body))
    assert set(DeliveryEvent.objects.values_list("times_received", flat=True)) == {1}


@pytest.mark.parametrize("error", [DataError(EXAMPLE["phone"]), OperationalError(1366, "Incorrect string value")])
def test_what_the_database_refuses_is_kept(post, caplog, error):
    with connection.execute_wrapper(Interrupt("INSERT", raising(error))):
        response = post(EXAMPLE)
    assert (response.status_code, list(response.json())) == (400, ["detail"])
    rejected = RejectedCallback.objects.get()
    assert (rejected.reason, json.loads(rejected.body_text)) == ("database", EXAMPLE)
    assert EXAMPLE["phone"] not in caplog.text
    (event,) = recording.replay(rejected)
    assert event.payload == EXAMPLE


def test_another_integrity_error_is_no_duplicate(post):
    """Whatever a project has added to the table."""
    post(EXAMPLE)
    with switching(
        "CREATE UNIQUE INDEX of_a_project ON django_plugchat_deliveryevent (custom_id)",
        {"mysql": "DROP INDEX of_a_project ON django_plugchat_deliveryevent"},
        "DROP INDEX of_a_project",
    ):
        assert_unavailable(post(EXAMPLE | {"zaapId": "B"}))
        assert_unavailable(post(STATUS_OF_TWO))
        assert post(EXAMPLE).json() == {"status": "duplicate"}
    assert not RejectedCallback.objects.exists()


@pytest.fixture
def without_returning(monkeypatch):
    """As on MySQL and on SQLite before 3.35."""
    if connection.vendor == "postgresql":
        pytest.skip("It always returns rows.")
    monkeypatch.setattr(connection.features, "can_return_columns_from_insert", False)


@pytest.mark.parametrize("body", [EXAMPLE, STATUS_OF_TWO], ids=["one", "two"])
def test_a_database_that_returns_no_rows(post, without_returning, body):
    assert post(body).json() == {"status": "recorded"}
    assert post(body).json() == {"status": "duplicate"}
    assert set(DeliveryEvent.objects.values_list("times_received", flat=True)) == {2}
    assert post(STATUS_OF_TWO | {"ids": [STATUS_OF_TWO["ids"][0], "new"]}).json() == {"status": "recorded"}


def test_one_stored_by_another_request_meanwhile_where_no_rows_are_returned(post, without_returning):
    other = Interrupt("INSERT", lambda: in_threads([post_in_thread(EXAMPLE)], 1))
    if connection.vendor == "sqlite":
        other = Interrupt("SAVEPOINT", lambda: None)  # its writers never meet
    with connection.execute_wrapper(other):
        post(EXAMPLE)
    assert DeliveryEvent.objects.get().times_received == (1 if connection.vendor == "sqlite" else 2)


@pytest.mark.parametrize("signal", [pre_save, post_save])
def test_a_projects_listener_is_heard(post, signal):
    heard: list[Any] = []

    def listen(sender: Any, instance: DeliveryEvent, **kwargs: Any) -> None:
        heard.append((sender, instance.message_id, kwargs.get("created", True)))

    signal.connect(listen)
    try:
        assert post(EXAMPLE).json() == {"status": "recorded"}
        assert post(EXAMPLE).json() == {"status": "duplicate"}
        assert post(STATUS_OF_TWO).json() == {"status": "recorded"}
    finally:
        signal.disconnect(listen)
    said = {message_id for _sender, message_id, created in heard if created}
    assert said == {EXAMPLE["messageId"], *STATUS_OF_TWO["ids"]}
    assert {sender for sender, *_rest in heard} == {DeliveryEvent}
    assert DeliveryEvent.objects.count() == 3


def test_a_listener_that_spoils_a_row(post):
    def forget_the_phone(instance: DeliveryEvent, **kwargs: Any) -> None:
        instance.phone = None  # type: ignore[assignment]

    pre_save.connect(forget_the_phone, DeliveryEvent)
    try:
        assert_unavailable(post(EXAMPLE))
    finally:
        pre_save.disconnect(forget_the_phone, DeliveryEvent)
    assert not DeliveryEvent.objects.exists()


def test_a_bug_of_a_listener_is_not_taken_for_a_fault(post):
    stumble = raising(ZeroDivisionError())
    pre_save.connect(stumble, DeliveryEvent)
    try:
        with pytest.raises(ZeroDivisionError):
            post(EXAMPLE)
    finally:
        pre_save.disconnect(stumble, DeliveryEvent)


# Receivers of many


def test_of_many_events_a_few_are_told_inside_the_request(post):
    """The others are due for a sweep at once."""
    receiver = Receiver()
    with connected(receiver):
        assert post(STATUS | {"ids": TWO_HUNDRED_IDS}).json() == {"status": "recorded"}
    assert len(receiver.heard) == recording.MOST_TOLD_AT_ONCE
    assert DeliveryEvent.objects.filter(dispatch_status="done").count() == recording.MOST_TOLD_AT_ONCE
    assert DeliveryEvent.objects.due().count() == 200 - recording.MOST_TOLD_AT_ONCE


def test_a_queue_is_given_all_of_them(post, into_queue):
    assert post(STATUS | {"ids": TWO_HUNDRED_IDS}).json() == {"status": "recorded"}
    assert sorted(into_queue) == sorted(DeliveryEvent.objects.values_list("pk", flat=True))
    assert not DeliveryEvent.objects.due().exists()


# Without autocommit


def test_what_is_recorded_is_committed_where_autocommit_is_off(post):
    connection.set_autocommit(False)
    try:
        receiver = Receiver()
        with connected(receiver):
            assert post(STATUS_OF_TWO).json() == {"status": "recorded"}
        connection.rollback()
        assert DeliveryEvent.objects.count() == len(receiver.heard) == 2
        with connection.execute_wrapper(Interrupt("INSERT", raising(OperationalError()))):
            assert_unavailable(post(EXAMPLE))
    finally:
        connection.rollback()
        connection.set_autocommit(True)


# Connections


@pytest.mark.parametrize("body", [EXAMPLE, STATUS_OF_TWO, "{"], ids=["one", "two", "refused"])
def test_a_connection_that_is_read_only(post, body):
    """As after a failover, where the server is a standby now. A new connection leads to the one that can be written."""
    with connection.cursor() as cursor:
        cursor.execute(
            {
                "sqlite": "PRAGMA query_only = ON",
                "postgresql": "SET default_transaction_read_only = on",
                "mysql": "SET SESSION TRANSACTION READ ONLY",
            }[connection.vendor]
        )
    if connection.vendor == "sqlite":  # has no other server
        assert_unavailable(post(body))
        connection.close()
    assert post(body).status_code == (400 if body == "{" else 200)


@pytest.mark.parametrize("body", [EXAMPLE, STATUS_OF_TWO, "{"], ids=["one", "two", "refused"])
def test_the_first_request_after_a_restart_of_the_database(post, monkeypatch, body):
    kill_connection(monkeypatch)
    assert post(body).status_code == (400 if body == "{" else 200)
    assert DeliveryEvent.objects.exists() or RejectedCallback.objects.exists()


def test_a_connection_that_dies_in_somebody_elses_transaction(post, monkeypatch):
    """Not replaced: what that transaction did before is gone with the connection."""

    def post_in_transaction() -> None:
        with transaction.atomic():
            kill_connection(monkeypatch)
            assert_unavailable(post(EXAMPLE))

    with pytest.raises(Error):
        post_in_transaction()
    monkeypatch.undo()
    assert not DeliveryEvent.objects.exists()


def test_a_database_that_is_away(post, monkeypatch):
    connection.close()
    monkeypatch.setattr(connection, "get_new_connection", raising(OperationalError("away")))
    monkeypatch.setattr(connection, "get_connection_params", dict)
    for body in (EXAMPLE, STATUS_OF_TWO, "{"):
        assert_unavailable(post(body))
    monkeypatch.undo()
    assert post(EXAMPLE).json() == {"status": "recorded"}


# Somebody else's transaction


@pytest.mark.django_db
def test_inside_a_test_case(post):
    """Nothing is committed there, and what fails must leave the transaction usable."""
    for body, said in ((EXAMPLE, "recorded"), (EXAMPLE, "duplicate"), (STATUS_OF_TWO, "recorded")):
        assert post(body).json() == {"status": said}
    assert post("{").status_code == 400
    with connection.execute_wrapper(Interrupt("INSERT", raising(DataError()))):
        assert post(EXAMPLE | {"zaapId": "B"}).status_code == 400
    for body in (EXAMPLE | {"zaapId": "C"}, STATUS_OF_TWO | {"status": "PLAYED"}):
        with connection.execute_wrapper(Interrupt("INSERT", raising(IntegrityError()))):
            assert_unavailable(post(body))
    assert post(EXAMPLE).json() == {"status": "duplicate"}
    assert DeliveryEvent.objects.count() == 3
    assert not connection.needs_rollback


def test_somebody_elses_transaction_is_not_rolled_back(post):
    """DRF does that for every refusal."""
    with transaction.atomic():
        DeliveryEvent.objects.create(zaap_id="before", fingerprint=uuid4())
        assert post("{").status_code == 400
        assert post(EXAMPLE, url=url_of("wrong")).status_code == 404
    assert DeliveryEvent.objects.filter(zaap_id="before").exists()
    assert RejectedCallback.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "start"), [(EXAMPLE, "INSERT"), (DISCONNECTED, "SELECT"), ("{", "UPDATE"), ("{", "SELECT")]
)
def test_a_statement_that_fails_leaves_somebody_elses_transaction_usable(post, body, start):
    with transaction.atomic():
        # Really: PostgreSQL refuses all that follows in a transaction in which a statement has failed.
        with connection.execute_wrapper(Interrupt(start, lambda: connection.cursor().execute("nonsense"))):
            assert_unavailable(post(body))
        DeliveryEvent.objects.create(zaap_id="after", fingerprint=uuid4())
    assert DeliveryEvent.objects.get().zaap_id == "after"


# Isolation


ISOLATION_LEVELS = ["SERIALIZABLE", "REPEATABLE READ"]


def isolate(level: str) -> None:
    """For all later transactions of the connection. SQLite has one level only."""
    statements = {
        "postgresql": f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}",
        "mysql": f"SET SESSION TRANSACTION ISOLATION LEVEL {level}",
        "sqlite": "SELECT 1",
    }
    with connection.cursor() as cursor:
        cursor.execute(statements[connection.vendor])


@pytest.mark.parametrize("level", ISOLATION_LEVELS)
@pytest.mark.parametrize("body", [EXAMPLE, STATUS_OF_TWO], ids=["one", "two"])
def test_two_that_can_not_be_serialized(post, level, body):
    """The other one is counted while this one waits for it: tried once more."""
    post(body)
    answers: list[Any] = []

    def count_another_time() -> None:
        isolate(level)
        answers.append(post_in_thread(body)())

    with transaction.atomic():
        DeliveryEvent.objects.update(times_received=2)
        other = threading.Thread(target=lambda: in_threads([count_another_time], 1))
        other.start()
        wait_until_one_waits()
    other.join()
    assert answers == [(200, "duplicate")]
    assert set(DeliveryEvent.objects.values_list("times_received", flat=True)) == {3}


def wait_until_one_waits() -> None:
    """Until another connection waits for a row that this transaction holds."""
    waiting = {
        "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
        # Its writers wait before they begin, which can't be seen.
        "sqlite": "SELECT 1",
    }
    with connection.cursor() as cursor:
        is_waiting = 0
        while not is_waiting:
            cursor.execute(waiting[connection.vendor])
            (is_waiting,) = cursor.fetchone()
            time.sleep(0.15)  # MariaDB looks anew when it was not asked for 0.1 s


@pytest.mark.parametrize("level", ISOLATION_LEVELS)
def test_connections_at_a_higher_level(level):
    def call() -> tuple[int, Any]:
        isolate(level)
        return post_in_thread(EXAMPLE)()

    answers = in_threads([call] * 8, 2)
    assert Counter(answers) == {(200, "recorded"): 1, (200, "duplicate"): 7}
    assert DeliveryEvent.objects.get().times_received == 8
