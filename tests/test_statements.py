"""What is written without the ORM is what the ORM would write, on each database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, models, transaction
from django.db.models.signals import pre_save
from django.db.models.sql import InsertQuery
from django.utils import timezone
from django.utils.translation import gettext_lazy

from django_plugchat import statements
from django_plugchat.models import DeliveryEvent, RejectedCallback

from .databases import kill_connection
from .hostile import CachedQuerysets
from .payloads import EXAMPLE, STATUS_OF_TWO
from .receivers import Receiver, connected

pytestmark = pytest.mark.django_db


def new_event(**changes: Any) -> DeliveryEvent:
    """Each field has a value that is hard to write."""
    moment = datetime(2026, 4, 29, 20, 21, 31, 684001, UTC)
    return DeliveryEvent(
        **{
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
        }
        | changes
    )


def columns(pk: Any) -> dict[str, Any]:
    """A row as the database has it, past all converters of the ORM."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM django_plugchat_deliveryevent WHERE id = %s", [pk])
        (row,) = cursor.fetchall()
        assert cursor.description is not None
        return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"occurred_at": None, "dispatch_due_at": None, "dispatched_at": timezone.now()},
        {"payload": [], "error": "", "custom_id": "", "times_received": 2**31 - 1, "dispatch_attempts": 32767},
        {"payload": {}, "received_at": datetime(2026, 2, 15, 2, 30, tzinfo=UTC)},
        {"payload": "text", "phone": "'; DROP TABLE django_plugchat_deliveryevent; --"},
        {"outcome": DeliveryEvent.Outcome.FAILED, "account": gettext_lazy("Sent"), "error_code": 131026},
    ],
)
def test_each_column_is_as_saving_would_write_it(changes):
    saved, inserted, ignoring = (new_event(fingerprint=uuid4(), **changes) for number in range(3))
    saved.save()
    statements.insert(inserted, "default")
    assert statements.insert_unless_known(ignoring, "default")
    for event in (inserted, ignoring):
        own = {"id": event.pk, "fingerprint": event.fingerprint}
        assert columns(event.pk) == columns(saved.pk) | own
        assert DeliveryEvent.objects.get(pk=event.pk).payload == saved.payload
        assert (event._state.adding, event._state.db) == (False, "default")


def test_a_field_of_another_class_prepares_its_values(monkeypatch):
    class Capitals(models.CharField):
        def get_prep_value(self, value: Any) -> Any:
            return str(value).upper()

    monkeypatch.setattr(DeliveryEvent._meta.get_field("account"), "__class__", Capitals)
    monkeypatch.setattr(statements, "_compiled", {})
    event = new_event(account="norte")
    statements.insert(event, "default")
    assert columns(event.pk)["account"] == "NORTE"


def test_each_column_without_time_zones(settings):
    settings.USE_TZ = False
    moment = datetime(2026, 4, 29, 17, 21, 31, 684001)
    times = {"occurred_at": moment, "received_at": moment, "last_received_at": moment, "dispatch_due_at": moment}
    saved, inserted = (new_event(fingerprint=uuid4(), **times) for number in range(2))
    saved.save()
    statements.insert(inserted, "default")
    own = {"id": inserted.pk, "fingerprint": inserted.fingerprint}
    assert columns(inserted.pk) == columns(saved.pk) | own


def test_every_field_is_set_by_name():
    values = {field.attname: getattr(new_event(), field.attname) for field in DeliveryEvent._meta.fields}
    del values["id"]
    event = statements.new_event(**values)
    assert event.pk is None
    assert event._state.adding
    assert {name: getattr(event, name) for name in values} == values
    del values["payload"]
    with pytest.raises(KeyError):
        statements.new_event(**values)


def test_a_known_event_is_not_inserted():
    event = new_event()
    statements.insert(event, "default")
    again = new_event(times_received=9)
    assert not statements.insert_unless_known(again, "default")
    assert again.pk is None
    assert DeliveryEvent.objects.get().times_received == 3
    with pytest.raises(IntegrityError), transaction.atomic():
        statements.insert(again, "default")


@pytest.mark.parametrize("changes", [{"phone": None}, {"error": None}, {"payload": None, "account": None}])
def test_what_a_column_refuses_is_never_changed(changes):
    """SQLite's IGNORE leaves such a row out, MariaDB's would store it as something else."""
    event = new_event(**changes)
    with suppress(IntegrityError), transaction.atomic():  # PostgreSQL says so at once
        assert not statements.insert_unless_known(event, "default")
    with pytest.raises(IntegrityError), transaction.atomic():
        statements.insert(event, "default")
    assert not DeliveryEvent.objects.exists()


def test_the_key_is_that_of_the_row():
    event, other = new_event(), new_event(fingerprint=uuid4())
    assert statements.insert_unless_known(event, "default")
    assert event.pk == DeliveryEvent.objects.get().pk
    assert not statements.insert_unless_known(new_event(), "default")
    statements.insert(other, "default")
    assert other.pk == DeliveryEvent.objects.latest("pk").pk != event.pk


def test_updates_are_those_of_the_orm():
    one, other = (new_event(fingerprint=uuid4()) for number in range(2))
    one.save()
    other.save()
    changes = {
        "dispatch_status": "retrying",
        "dispatch_due_at": timezone.now(),
        "dispatch_error": "%s ' \\",
        "dispatched_at": None,
        "payload": {"a": ["é", 1e4]},
    }
    where = {"pk": one.pk, "dispatch_status": "running", "dispatch_due_at": one.dispatch_due_at}
    assert statements.update(DeliveryEvent, "default", changes, where) == 1
    assert statements.update(DeliveryEvent, "default", changes, where) == 0
    assert DeliveryEvent.objects.filter(pk=other.pk).update(**changes) == 1
    assert columns(one.pk) == columns(other.pk) | {"id": one.pk, "fingerprint": one.fingerprint}


def test_counting_is_that_of_the_orm():
    event = new_event()
    event.save()
    before = DeliveryEvent.objects.get()
    later, earlier = timezone.now(), datetime(2020, 1, 1, tzinfo=UTC)
    assert statements.count_again(DeliveryEvent, "default", event.fingerprint, 2, later, secret_id="x") == 1
    assert statements.count_again(DeliveryEvent, "default", event.fingerprint, 1, earlier, secret_id="y") == 1
    assert statements.count_again(DeliveryEvent, "default", "b" * 64, 1, later) == 0
    after = DeliveryEvent.objects.get()
    assert (after.times_received, after.last_received_at, after.secret_id) == (6, later, "y")
    for field in DeliveryEvent._meta.fields:
        if field.attname not in {"times_received", "last_received_at", "secret_id"}:
            assert getattr(after, field.attname) == getattr(before, field.attname)


def test_counting_a_rejected_callback():
    row = RejectedCallback.objects.create(body=b"{", fingerprint=uuid4(), account="default", reason="not_json")
    changes = {"reason": "invalid", "errors": {"phone": ["blank"]}, "secret_id": "8a8fe4db"}
    assert statements.count_again(RejectedCallback, "default", "a", 1, timezone.now(), **changes) == 1
    row.refresh_from_db()
    assert (row.times_received, row.reason, row.errors, row.secret_id) == (
        2,
        "invalid",
        {"phone": ["blank"]},
        "8a8fe4db",
    )


# Compiled once


@pytest.fixture
def compilations(monkeypatch) -> list[Any]:
    """The INSERTs of events that the ORM compiles."""
    seen: list[Any] = []
    get_compiler: Callable[..., Any] = InsertQuery.get_compiler

    def counting(self: InsertQuery, *args: Any, **kwargs: Any) -> Any:
        seen.extend([self.model] * (self.model is DeliveryEvent))
        return get_compiler(self, *args, **kwargs)

    monkeypatch.setattr(InsertQuery, "get_compiler", counting)
    return seen


def test_nothing_is_compiled_again(post, compilations):
    post(EXAMPLE)
    compilations.clear()
    with connected(Receiver()):
        for number in range(5):
            assert post(EXAMPLE | {"zaapId": f"{number}"}).json() == {"status": "recorded"}
            assert post(EXAMPLE | {"zaapId": f"{number}"}).json() == {"status": "duplicate"}
    assert post(STATUS_OF_TWO).json() == {"status": "recorded"}
    assert not compilations


def test_where_a_project_listens_to_saving_it_is_heard(compilations):
    heard: list[Any] = []

    def listen(sender: Any, **kwargs: Any) -> None:
        heard.append(sender)

    pre_save.connect(listen)
    try:
        statements.insert(new_event(), "default")
        assert not statements.insert_unless_known(new_event(), "default")
    finally:
        pre_save.disconnect(listen)
    assert heard == compilations == [DeliveryEvent] * 2


# What fails in the database


class Failures:
    """Wraps the database and remembers the errors of its statements."""

    def __init__(self) -> None:
        self.errors: list[type[Exception]] = []

    def __call__(self, execute: Any, *args: Any) -> Any:
        try:
            return execute(*args)
        except Exception as error:
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
    # MariaDB can't ignore one kind of error alone. It logs none.
    assert not failures.errors or (connection.vendor == "mysql" and set(failures.errors) == {IntegrityError})


# Queries


def test_rows_are_fetched_past_a_cache_of_querysets():
    new_event().save()
    query = DeliveryEvent.objects.filter(times_received=3)
    with CachedQuerysets(DeliveryEvent):
        assert len(query.all()) == 1
        DeliveryEvent.objects.update(times_received=4)
        assert len(query.all()) == 1
        assert statements.fetch(query) == []
        assert [event.times_received for event in statements.fetch(DeliveryEvent.objects.all())] == [4]
    assert not query.all()


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
