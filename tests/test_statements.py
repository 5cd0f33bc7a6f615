"""What is written without the ORM is what the ORM would write, on each database."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.db.models.sql import InsertQuery, UpdateQuery
from django.utils import timezone

from django_plugchat import statements
from django_plugchat.models import DeliveryEvent

from .databases import kill_connection
from .payloads import EXAMPLE, STATUS_OF_TWO
from .receivers import Receiver, connected

pytestmark = pytest.mark.django_db


def new_row(**changes: Any) -> dict[str, Any]:
    """Each field has a value that is hard to write."""
    moment = datetime(2026, 4, 29, 20, 21, 31, 684001, UTC)
    return {
        "account": "caixa d'água 100%",
        "zaap_id": "%s %(a)s \\ '\"",
        "custom_id": "😀" * 255,
        "message_id": " leading and trailing ",
        "phone": "+55 (44) 9999",
        "participant": "",
        "phone_digits": "55449999",
        "participant_digits": "",
        "type": "DeliveryCallback",
        "instance_id": "\t\n\r",
        "error": "ã" * 20_000,
        "error_code": '{"a": 1}',
        "outcome": "failed",
        "failure": "number",
        "occurred_at": moment,
        "received_at": moment,
        "last_received_at": moment.replace(microsecond=0),
        "times_received": 3,
        "payload": {"'": ["%s", '"', "\\", 10**30, 1e4, 0.1, None, True, {}, "é\u2028😀"]},
        "secret_id": "8a8fe4db",
        "fingerprint": uuid4(),
        "dispatch_status": "running",
        "dispatch_attempts": 1,
        "dispatch_due_at": moment,
        "dispatched_at": None,
        "dispatch_error": "",
        "dispatch_failed": False,
    } | changes


def saved_event(**changes: Any) -> DeliveryEvent:
    return DeliveryEvent.objects.create(**new_row(**changes))


def stored_event(**changes: Any) -> DeliveryEvent:
    row = new_row(**changes)
    assert statements.store([row], "default").keys() == {row["fingerprint"]}
    return DeliveryEvent.objects.get(fingerprint=row["fingerprint"])


def columns(pk: Any) -> dict[str, Any]:
    """A row as the database has it, past all converters of the ORM."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM django_plugchat_deliveryevent WHERE id = %s", [pk])
        (row,) = cursor.fetchall()
        assert cursor.description is not None
        return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def test_what_is_blank_in_some_rows_and_in_all():
    rows = [new_row(custom_id="", error=""), new_row(custom_id="C", error="")]
    statements.store(rows, "default")
    stored = {event.fingerprint: (event.custom_id, event.error) for event in DeliveryEvent.objects.all()}
    assert stored == {row["fingerprint"]: (row["custom_id"], "") for row in rows}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"occurred_at": None, "dispatch_due_at": None, "dispatched_at": timezone.now(), "dispatch_failed": True},
        {"payload": [], "error": "", "custom_id": "", "times_received": 2**31 - 1, "dispatch_attempts": 32767},
        {"payload": {}, "received_at": datetime(2026, 2, 15, 2, 30, tzinfo=UTC)},
        {"payload": "text", "phone": "'; DROP TABLE django_plugchat_deliveryevent; --"},
        {"outcome": DeliveryEvent.Outcome.FAILED},
    ],
)
def test_each_column_is_as_saving_would_write_it(changes):
    saved = saved_event(**changes)
    rows = [new_row(**changes) for _number in range(2)]
    new = statements.store(rows, "default")
    assert new.keys() == {row["fingerprint"] for row in rows}
    for fingerprint, pk in new.items():
        own = {"id": pk, "fingerprint": columns(pk)["fingerprint"]}
        assert columns(pk) == columns(saved.pk) | own
        assert DeliveryEvent.objects.get(pk=pk).fingerprint == fingerprint
        assert DeliveryEvent.objects.get(pk=pk).payload == saved.payload


def test_each_column_without_time_zones(settings):
    settings.USE_TZ = False
    moment = datetime(2026, 4, 29, 17, 21, 31, 684001)
    times = {"occurred_at": moment, "received_at": moment, "last_received_at": moment, "dispatch_due_at": moment}
    saved, stored = saved_event(**times), stored_event(**times)
    own = {"id": stored.pk, "fingerprint": columns(stored.pk)["fingerprint"]}
    assert columns(stored.pk) == columns(saved.pk) | own


def test_known_ones_are_counted_and_new_ones_stored():
    known, new = stored_event(), new_row()
    earlier = datetime(2020, 1, 1, tzinfo=UTC)
    repeated = new_row(
        fingerprint=known.fingerprint, times_received=7, last_received_at=earlier, secret_id="other", phone="another"
    )
    assert statements.store([repeated, new], "default").keys() == {new["fingerprint"]}
    row = DeliveryEvent.objects.get(pk=known.pk)
    assert (row.times_received, row.last_received_at, row.secret_id) == (10, known.last_received_at, "other")
    for field in DeliveryEvent._meta.fields:
        if field.attname not in {"times_received", "last_received_at", "secret_id"}:
            assert getattr(row, field.attname) == getattr(known, field.attname)
    later = timezone.now()
    statements.store([new_row(fingerprint=known.fingerprint, last_received_at=later)], "default")
    assert DeliveryEvent.objects.get(pk=known.pk).last_received_at == later


@pytest.mark.parametrize("changes", [{"phone": None}, {"error": None}, {"payload": None, "account": None}])
def test_what_a_column_refuses_is_never_changed(changes):
    with pytest.raises(IntegrityError), transaction.atomic():
        statements.store([new_row(), new_row(**changes)], "default")
    assert not DeliveryEvent.objects.exists()


def test_updates_are_those_of_the_orm():
    one, other = saved_event(), saved_event()
    changes = {
        "dispatch_status": "retrying",
        "dispatch_due_at": timezone.now(),
        "dispatch_error": "%s ' \\",
        "dispatched_at": None,
        "payload": {"a": ["é", 1e4]},
    }
    where = {"id": one.pk, "dispatch_status": "running", "dispatch_due_at": one.dispatch_due_at}
    assert statements.update("default", changes, where) == 1
    assert statements.update("default", changes, where) == 0
    assert DeliveryEvent.objects.filter(pk=other.pk).update(**changes) == 1
    assert columns(one.pk) == columns(other.pk) | {"id": one.pk, "fingerprint": columns(one.pk)["fingerprint"]}


# Compiled once


def test_nothing_is_compiled_again(post, monkeypatch):
    """Neither the INSERT nor the UPDATE that follows a receiver: that takes the ORM longer than the database."""
    post(EXAMPLE)
    compiled: list[Any] = []
    for kind in (InsertQuery, UpdateQuery):
        monkeypatch.setattr(kind, "get_compiler", lambda *args, **kwargs: compiled.append(args))
    with connected(Receiver()):
        for number in range(5):
            assert post(EXAMPLE | {"zaapId": f"{number}"}).json() == {"status": "recorded"}
            assert post(EXAMPLE | {"zaapId": f"{number}"}).json() == {"status": "duplicate"}
    assert post(EXAMPLE | {"zaapId": "without a receiver"}).json() == {"status": "recorded"}
    assert not compiled


# What fails in the database


class Failures:
    """Wraps the database and remembers the errors of its statements."""

    def __init__(self) -> None:
        self.errors: list[type[Exception]] = []

    def __call__(self, execute: Any, *args: Any) -> Any:
        try:
            return execute(*args)
        except Exception as error:  # pragma: no cover - what must not be
            self.errors.append(type(error))
            raise


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("body", [EXAMPLE, STATUS_OF_TWO], ids=["one", "two"])
def test_a_repetition_is_no_error_inside_the_database(post, body):
    """PostgreSQL would log the row's values."""
    failures = Failures()
    with connection.execute_wrapper(failures):
        assert post(body).json() == {"status": "recorded"}
        assert post(body).json() == {"status": "duplicate"}
        assert post(body).json() == {"status": "duplicate"}
    assert not failures.errors


# Trying again


@pytest.fixture
def other_connection() -> Iterator[Any]:
    """Beside the tests' own, with a pool where the database can have one."""
    other: Any = connection.copy()
    if other.vendor == "postgresql":
        other.settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 2}
    connections["other"] = other
    yield other
    other.close()
    if other.vendor == "postgresql":
        other.close_pool()
    del connections["other"]


def failing_once(error: Exception) -> Callable[[], int]:
    attempts: list[int] = []

    def operation() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise error
        return len(attempts)

    return operation


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kill", [True, False])
def test_a_pool_is_looked_through(other_connection, kill, monkeypatch):
    """Its other connections have died as well, or lead to the server that is a standby now."""
    other_connection.ensure_connection()
    if kill:
        kill_connection(monkeypatch, other_connection)

    def operation() -> None:
        with other_connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    statements.trying_again("other", operation)
    assert other_connection.is_usable()
    assert statements.trying_again("other", failing_once(OperationalError(1290, "read only"))) == 2
    assert statements.trying_again("other", failing_once(OperationalError(1213, "deadlock"))) == 2
    with pytest.raises(OperationalError):
        statements.trying_again("other", failing_once(OperationalError("disk full")))


class SomebodyElsesPool:
    """As django-db-geventpool's: called a pool, without the methods of psycopg's."""


@pytest.mark.django_db(transaction=True)
def test_a_pool_of_another_package(other_connection):
    if other_connection.vendor == "postgresql":
        pytest.skip("Django itself uses what is called a pool there.")
    other_connection.__class__ = type("Pooled", (type(other_connection),), {"pool": SomebodyElsesPool()})
    other_connection.ensure_connection()
    assert statements.trying_again("other", failing_once(OperationalError(1290, "read only"))) == 2


class Psycopg2Error(Exception):
    pgcode = "40001"


class Psycopg3Error(Exception):
    sqlstate = "40001"


@pytest.mark.parametrize("cause", [Psycopg2Error(), Psycopg3Error()])
def test_an_error_says_its_code_in_the_way_of_its_driver(cause):
    error = OperationalError("could not serialize access")
    error.__cause__ = cause
    assert statements.codes(error) == {"40001"}
    assert statements.codes(OperationalError(1047, "WSREP has not yet prepared node")) == {1047}
    assert statements.codes(OperationalError("disk full")) == set()
