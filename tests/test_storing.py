"""Each event once, whatever happens meanwhile; and what the database's faults are answered with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.db.models.signals import pre_save
from django.test import Client

from django_plugchat.models import DeliveryEvent, RejectedCallback

from .conftest import EXAMPLE, URL

pytestmark = pytest.mark.django_db(transaction=True)


def in_threads(calls: Iterable[Callable[[], Any]], threads: int) -> list[Any]:
    def run(call: Callable[[], Any]) -> Any:
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, calls))


def post_in_thread(body: Any) -> Callable[[], tuple[int, Any]]:
    def call() -> tuple[int, Any]:
        response = Client().post(URL, body, content_type="application/json")
        return response.status_code, response.json().get("status")

    return call


# Statements


def test_statements(post, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    with django_assert_num_queries(2):
        assert post(EXAMPLE).json() == {"status": "duplicate"}
    with django_assert_num_queries(0):
        assert post(EXAMPLE, url="/plugchat/callback/wrong/").status_code == 404
        assert post({"type": "ReceivedCallback"}).json() == {"status": "ignored"}
        assert post("a", content_type="text/plain").status_code == 415
        assert post("[" * 70_000).status_code == 413
    with django_assert_num_queries(4):
        assert post("{").status_code == 400
    with django_assert_num_queries(1):
        assert post("{").status_code == 400


# Concurrency


def test_32_identical_posts_at_once():
    answers = in_threads([post_in_thread(EXAMPLE)] * 32, 32)
    assert Counter(answers) == {(200, "recorded"): 1, (200, "duplicate"): 31}
    assert DeliveryEvent.objects.get().times_received == 32


def test_64_connections_mixed():
    """New, repeated and changed callbacks: no deadlock, no lost count."""
    bodies = [EXAMPLE | {"customId": f"{n % 16}", "error": ["", "Timeout"][n // 16 % 2]} for n in range(512)]
    answers = in_threads([post_in_thread(body) for body in bodies], 64)
    assert Counter(answers) == {(200, "recorded"): 32, (200, "duplicate"): 480}
    counts = list(DeliveryEvent.objects.values_list("times_received", flat=True))
    print(f"\n{connection.vendor}, 64 connections: 512 posts, 512 acknowledged, {sum(counts)} counted")  # noqa: T201
    assert counts == [16] * 32


def test_a_flood_of_different_refusals(plugchat):
    plugchat(MAX_REJECTED=10)
    answers = in_threads([post_in_thread(f"{{{n}") for n in range(64)], 16)
    assert Counter(answers) == {(400, None): 64}
    assert RejectedCallback.objects.count() == 10


def test_one_refusal_many_times_at_once():
    answers = in_threads([post_in_thread("{")] * 32, 16)
    assert Counter(answers) == {(400, None): 32}
    assert RejectedCallback.objects.get().times_received == 32


class Interrupt:
    """Wraps the database: does something before the first statements that begin in a certain way."""

    def __init__(self, start: str, action: Callable[[], Any], times: int = 1):
        self.start, self.action, self.times = start, action, times

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(self.start) and self.times:
            self.times -= 1
            self.action()
        return execute(sql, params, many, context)


def raising(error: Exception) -> Callable[..., None]:
    def action(*args: Any) -> None:
        raise error

    return action


def test_deleted_in_between(post):
    post(EXAMPLE)
    with connection.execute_wrapper(Interrupt("UPDATE", lambda: DeliveryEvent.objects.all().delete())):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.get().times_received == 1


def test_refused_body_that_comes_in_between(post, caplog):
    def other() -> None:
        RejectedCallback.objects.record(account="default", secret_id="x", body=b"{", reason="not_json", errors={})

    with connection.execute_wrapper(Interrupt("INSERT", other)):
        assert post("{").status_code == 400
    assert RejectedCallback.objects.get().times_received == 2
    assert "Not kept" not in caplog.text


def test_refused_body_over_the_limit_in_between(post, plugchat):
    plugchat(MAX_REJECTED=1)

    def other() -> None:
        RejectedCallback.objects.record(account="default", secret_id="x", body=b"[", reason="not_json", errors={})

    with connection.execute_wrapper(Interrupt("INSERT", other)):
        assert post("{").status_code == 400
    assert {"{", "["} >= {row.body_text for row in RejectedCallback.objects.all()}
    assert RejectedCallback.objects.count() == 1


# Faults


def assert_unavailable(response: Any) -> None:
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.json() == {"detail": "The callback could not be stored. Try again later."}


@pytest.fixture
def without_phone():
    def forget_phone(instance: DeliveryEvent, **kwargs: Any) -> None:
        instance.phone = None  # type: ignore[assignment]

    pre_save.connect(forget_phone, DeliveryEvent)
    yield
    pre_save.disconnect(forget_phone, DeliveryEvent)


def test_another_integrity_error_is_no_duplicate(post, without_phone):
    assert_unavailable(post(EXAMPLE))
    assert not DeliveryEvent.objects.exists()


def test_a_bug_is_not_taken_for_a_fault(post):
    def stumble(**kwargs: Any) -> None:
        raise ZeroDivisionError

    pre_save.connect(stumble, DeliveryEvent)
    try:
        with pytest.raises(ZeroDivisionError):
            post(EXAMPLE)
    finally:
        pre_save.disconnect(stumble, DeliveryEvent)


def test_another_integrity_error_of_a_refusal(post):
    with connection.execute_wrapper(Interrupt("INSERT", raising(IntegrityError()))):
        assert_unavailable(post("{"))
    assert not RejectedCallback.objects.exists()


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, InternalError, Error])
@pytest.mark.parametrize(("body", "start"), [(EXAMPLE, "INSERT"), ("{", "UPDATE"), ("{", "SELECT")])
def test_faults_of_the_database(post, caplog, error, body, start):
    with connection.execute_wrapper(Interrupt(start, raising(error("row (554499999999)")), times=2)):
        assert_unavailable(post(body))
    assert not DeliveryEvent.objects.exists()
    assert not RejectedCallback.objects.exists()
    assert "554499999999" not in caplog.text
    own = [record.getMessage() for record in caplog.records if record.name == "django_plugchat.views"]
    assert f"A callback for account 'default' was not stored: {error.__name__}" in own
    assert post(body).status_code in {200, 400}


@pytest.mark.parametrize("error", [DataError(EXAMPLE["phone"]), OperationalError(1366, "Incorrect string value")])
def test_what_the_database_refuses_is_kept(post, error):
    with connection.execute_wrapper(Interrupt("INSERT", raising(error))):
        response = post(EXAMPLE)
    assert response.status_code == 400
    assert response.json() == {"detail": "The database can't store this callback."}
    rejected = RejectedCallback.objects.get()
    assert (rejected.reason, json.loads(rejected.body_text)) == ("database", EXAMPLE)
    assert rejected.replay().payload == EXAMPLE


READ_ONLY = {
    "sqlite": ["PRAGMA query_only = ON", "PRAGMA query_only = OFF"],
    "postgresql": ["SET default_transaction_read_only = on", "SET default_transaction_read_only = off"],
    "mysql": ["SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"],
}


def test_a_read_only_database(post):
    read_only, read_write = READ_ONLY[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(read_only)
        assert_unavailable(post(EXAMPLE))
        assert_unavailable(post("{"))
        cursor.execute(read_write)
    assert post(EXAMPLE).json() == {"status": "recorded"}


def kill_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a restart of the database does to a connection that is idle meanwhile."""
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        # A file does not go away: the only engine where this has to be acted.
        monkeypatch.setattr(connection, "is_usable", lambda: False)
        connection.connection.close()
        return
    with connection.cursor() as cursor:
        cursor.execute({"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}[connection.vendor])
        (identifier,) = cursor.fetchone()
    statement = {"postgresql": "SELECT pg_terminate_backend(%s)", "mysql": "KILL %s"}[connection.vendor]
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(statement, [identifier])
    other.close()


def test_a_connection_that_dies_in_somebody_elses_transaction(post, monkeypatch):
    """Not replaced: what that transaction did before is gone with the connection."""

    def post_in_transaction():
        with transaction.atomic():
            kill_connection(monkeypatch)
            assert_unavailable(post(EXAMPLE))

    with pytest.raises(Error):
        post_in_transaction()
    monkeypatch.undo()
    assert not DeliveryEvent.objects.exists()


@pytest.mark.parametrize(("body", "status"), [(EXAMPLE, 200), ("{", 400)])
def test_the_first_request_after_a_restart_of_the_database(post, monkeypatch, body, status):
    kill_connection(monkeypatch)
    assert post(body).status_code == status
    assert DeliveryEvent.objects.count() + RejectedCallback.objects.count() == 1


def test_a_database_that_is_away(post, monkeypatch):
    connection.close()
    monkeypatch.setattr(connection, "get_new_connection", raising(OperationalError("away")))
    monkeypatch.setattr(connection, "get_connection_params", dict)
    assert_unavailable(post(EXAMPLE))
    monkeypatch.undo()
    assert post(EXAMPLE).json() == {"status": "recorded"}
