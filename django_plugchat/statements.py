"""The statements of a callback. To compile them each time takes the ORM longer than the database needs for them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache, partial
from typing import Any, TypeVar, cast
from uuid import UUID

from django.db import DataError, Error, IntegrityError, connections, models, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.db.models.signals import post_save, pre_save

from django_plugchat.models import DeliveryEvent

T = TypeVar("T")

#: SQLSTATEs and MariaDB's error numbers of what another attempt may not meet: a serialization failure, a deadlock, a
#: certification failure of Galera (1213 as well), a row that has changed since it was read.
_DEADLOCKS = {"40001", "40P01", 1020, 1213}
#: Each one ends with a transaction that stores its rows: the next attempt meets fewer.
_MOST_DEADLOCKS = 8
#: A server that has become read-only since this connection was made, as after a failover, or has left its cluster.
_LEFT_BEHIND = {"25006", 1047, 1290, 1792, 1836}
#: MariaDB's for characters outside the column's character set, PostgreSQL's for those outside the database's; the last
#: is that of SQL_ASCII, into which nothing can be converted.
_UNSTORABLE = {1366, "22P05", "22021", "0A000"}


def store(rows: Sequence[dict[str, Any]], alias: str) -> dict[UUID, Any]:
    """Store the events that are new, count again those that are known. Returns the keys of new ones by fingerprint.

    A row has the value of each field, and another fingerprint than the others. All or none, in one statement where the
    database can return rows and nobody listens to what the ORM saves. Raises ``django.db.Error``.
    """
    connection = connections[alias]
    # Many projects listen to what is saved of all models.
    is_heard = pre_save.has_listeners(DeliveryEvent) or post_save.has_listeners(DeliveryEvent)
    if is_heard or not connection.features.can_return_columns_from_insert:
        return _store_one_by_one(rows, alias)
    insert, row, update, fields = _upsert(alias)
    if len(rows) > 1:
        # What is blank in all rows is no parameter: psycopg needs milliseconds to take thousands of them apart.
        blank = set.intersection(*({name for name, value in values.items() if value == ""} for values in rows))
        row = "(" + ", ".join(["''" if name in blank else "%s" for name, _prepare in fields]) + ")"
        fields = [field for field in fields if field[0] not in blank]
    parameters: list[Any] = [
        prepare(values[name], connection) if prepare else values[name] for values in rows for name, prepare in fields
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"{insert}{', '.join([row] * len(rows))}{update}", parameters)
        stored = {
            fingerprint if isinstance(fingerprint, UUID) else UUID(fingerprint): (pk, times)
            for pk, fingerprint, times in cursor.fetchall()
        }
    sent = {values["fingerprint"]: values["times_received"] for values in rows}
    if stored.keys() != sent.keys():
        # MariaDB itself raises nothing where it meets a unique key of a project's own.
        raise IntegrityError("Another unique key than the fingerprint's is taken.")
    # A row that was there has counted more than was sent.
    return {fingerprint: pk for fingerprint, (pk, times) in stored.items() if times == sent[fingerprint]}


#: Fields that make something else of a value for a database. To ask the others too costs a twentieth of a callback.
_PREPARING = (models.DateTimeField, models.JSONField, models.UUIDField)


@cache
def _upsert(alias: str) -> tuple[str, str, str, list[tuple[str, Callable[..., Any] | None]]]:
    """What is before the rows, a row, what is after them; each field's name, and what prepares its values."""
    connection, model = connections[alias], cast(Any, DeliveryEvent._meta)
    quote = connection.ops.quote_name
    fields = [field for field in model.concrete_fields if not field.primary_key]
    columns = {field.attname: quote(field.column) for field in fields}
    table, pk, fingerprint = quote(model.db_table), quote(model.pk.column), columns["fingerprint"]
    if connection.vendor == "mysql":
        conflict, given, greatest = "ON DUPLICATE KEY UPDATE", "VALUES({})", "GREATEST"
    else:
        conflict, given = f"ON CONFLICT ({fingerprint}) DO UPDATE SET", "EXCLUDED.{}"
        greatest = "MAX" if connection.vendor == "sqlite" else "GREATEST"
    times, last, secret = columns["times_received"], columns["last_received_at"], columns["secret_id"]
    counted = [
        f"{times} = {table}.{times} + {given.format(times)}",
        # Whoever came first may be written last.
        f"{last} = {greatest}({table}.{last}, {given.format(last)})",
        f"{secret} = {given.format(secret)}",
    ]
    return (
        f"INSERT INTO {table} ({', '.join(columns.values())}) VALUES ",  # noqa: S608  # names, no values
        f"({', '.join(['%s'] * len(fields))})",
        f" {conflict} {', '.join(counted)} RETURNING {pk}, {fingerprint}, {times}",
        [(field.attname, field.get_db_prep_save if isinstance(field, _PREPARING) else None) for field in fields],
    )


def _store_one_by_one(rows: Sequence[dict[str, Any]], alias: str) -> dict[UUID, Any]:
    new = {}
    with transaction.atomic(using=alias):
        for row in rows:
            event = DeliveryEvent(**row)
            if not count_again(event, alias) and insert_or_count(event, alias):
                new[event.fingerprint] = event.pk
                # A listener may have changed it.
                row.update((name, getattr(event, name)) for name in row)
    return new


def event_of(row: dict[str, Any], pk: Any, alias: str) -> DeliveryEvent:
    """What has been stored, as if it was read."""
    names = [field.attname for field in DeliveryEvent._meta.concrete_fields]
    return DeliveryEvent.from_db(alias, names, [pk if name == "id" else row[name] for name in names])


def insert_or_count(row: models.Model, alias: str, **changes: Any) -> bool:
    """Insert a row that was not there a moment ago. Returns False where it was after all, and has been counted."""
    try:
        with savepoint(alias):
            row.save(force_insert=True, using=alias)
    except IntegrityError:
        row.pk = None
        if not count_again(row, alias, **changes):
            raise
        return False
    return True


def count_again(row: Any, alias: str, **changes: Any) -> int:
    """Count what came again on the row that has its fingerprint; returns 0 when there is none."""
    rows: models.QuerySet[Any] = type(row)._default_manager.using(alias).filter(fingerprint=row.fingerprint)
    return rows.update(
        times_received=F("times_received") + row.times_received,
        last_received_at=Greatest("last_received_at", row.last_received_at),
        secret_id=row.secret_id,
        **changes,
    )


def update(alias: str, changes: dict[str, Any], where: dict[str, Any]) -> int:
    """Set fields of the events whose fields equal those of ``where``; returns how many events those were."""
    connection, model = connections[alias], cast(Any, DeliveryEvent._meta)
    given = [(model.get_field(name), value) for name, value in [*changes.items(), *where.items()]]
    equal = [f"{connection.ops.quote_name(field.column)} = %s" for field, _value in given]
    setting, condition = ", ".join(equal[: len(changes)]), " AND ".join(equal[len(changes) :])
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {connection.ops.quote_name(model.db_table)} SET {setting} WHERE {condition}",  # noqa: S608
            [field.get_db_prep_save(value, connection) for field, value in given],
        )
        return int(cursor.rowcount)


@contextmanager
def uncompiled(alias: str) -> Iterator[None]:
    """Without PostgreSQL's compiler: by its guesses about millions of rows it would compile for longer than it runs."""
    if connections[alias].vendor != "postgresql":
        yield
        return
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        yield


# Failing databases


def savepoint(alias: str) -> AbstractContextManager[Any]:
    """What lets a statement fail inside a transaction, somebody else's or one of ``AUTOCOMMIT: False``."""
    return nullcontext() if connections[alias].get_autocommit() else transaction.atomic(using=alias)


def trying_again(alias: str, operation: Callable[[], T]) -> T:
    """Run a write; again after a deadlock or a serialization failure, and once more with a new connection where this
    one is dead or its server has been left behind by a failover.

    Inside somebody else's transaction it runs once, in a savepoint. What it has written is committed when this returns,
    also where a database has ``AUTOCOMMIT: False``. Raises ``django.db.Error``.
    """
    connection: Any = connections[alias]
    used = connection.connection
    deadlocks, is_renewed = 0, False
    while True:
        try:
            with savepoint(alias):
                result = operation()
            if not connection.in_atomic_block and not connection.get_autocommit():
                connection.commit()
        except Error as error:
            if connection.in_atomic_block or connection.connection is None:
                raise
            if not connection.get_autocommit():
                with suppress(Error):
                    connection.rollback()
            if deadlocks < _MOST_DEADLOCKS and codes(error) & _DEADLOCKS:
                deadlocks += 1
                continue
            is_left_behind = bool(codes(error) & _LEFT_BEHIND)
            # One that dies in a transaction of the operation's own, Django has replaced at its end.
            is_dead = (used is not None and connection.connection is not used) or not connection.is_usable()
            if is_renewed or not (is_left_behind or is_dead):
                raise
            _renew(connection, is_left_behind=is_left_behind)
            is_renewed = True
        else:
            return result


def change(rows: models.QuerySet[Any], **changes: Any) -> int:
    """Update the rows of a queryset as ``trying_again`` does; returns how many those were."""
    return trying_again(rows.db, partial(rows.update, **changes))


def _renew(connection: Any, *, is_left_behind: bool) -> None:
    pool: Any = getattr(connection, "pool", None)
    is_djangos = type(pool).__module__.startswith("psycopg_pool")
    if is_left_behind and pool is not None and not is_djangos:
        # What others call a pool has other methods, but hands no connection out again that the driver calls closed.
        connection.connection.close()
    with suppress(Error):  # MariaDB's driver closes nothing twice
        connection.close()
    # Its other connections have died as well, or lead to the same server.
    if is_djangos and is_left_behind:
        connection.close_pool()
    elif is_djangos:
        pool.check()


def codes(error: BaseException) -> set[Any]:
    """SQLSTATE and MariaDB's number, as far as an error of any driver has them."""
    numbers = {number for number in error.args[:1] if isinstance(number, int)}
    cause = error.__cause__
    return (numbers | {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)}) - {None}


def refuses_content(error: BaseException) -> bool:
    """Whether the database can't hold what it was given, however often it is tried."""
    # The driver itself may not be able to send a character in the connection's encoding.
    return isinstance(error, DataError | UnicodeEncodeError) or bool(codes(error) & _UNSTORABLE)
