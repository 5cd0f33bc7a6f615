"""The statements of a callback, without the ORM compiling them each time, and what is done when a database fails.

Compiling the INSERT of a row with so many columns takes the ORM longer than the database needs to store it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from types import NoneType
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import DataError, Error, IntegrityError, connections, models, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.db.models.signals import post_save, pre_save

from django_plugchat.models import DeliveryEvent, IdField

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


# Storing


def store(events: Sequence[DeliveryEvent], alias: str) -> list[DeliveryEvent]:
    """Store the events that are new, count again those that are known, and return the new ones with their keys.

    All or none, in one statement where the database can return rows and nobody listens to what the ORM saves.
    Each event has another fingerprint. Raises ``django.db.Error``.
    """
    connection = connections[alias]
    if not connection.features.can_return_columns_from_insert or _saving_is_heard():
        return _store_one_by_one(events, alias)
    upsert = _upsert(connection)
    with connection.cursor() as cursor:
        cursor.execute(upsert.sql(len(events)), upsert.parameters(events, connection))
        # A row that was there has counted more than was sent.
        returned = {
            fingerprint if isinstance(fingerprint, UUID) else UUID(fingerprint): (pk, times)
            for pk, fingerprint, times in cursor.fetchall()
        }
    new = []
    for event in events:
        pk, times = returned.get(event.fingerprint, (None, None))
        if times == event.times_received:
            event.pk, event._state.adding, event._state.db = pk, False, alias
            new.append(event)
    if not returned.keys() >= {event.fingerprint for event in events}:
        # MariaDB has met another unique key, of a project's own. All or none.
        DeliveryEvent._base_manager.using(alias).filter(pk__in=[event.pk for event in new]).delete()
        raise IntegrityError("Another unique key than the fingerprint's is taken.")
    return new


def _saving_is_heard() -> bool:
    """Whether a project listens to what the ORM says of saving; many listen to all models."""
    return pre_save.has_listeners(DeliveryEvent) or post_save.has_listeners(DeliveryEvent)


#: For speed alone, a twentieth of a callback: a value of exactly this class is what a field of exactly that class would
#: make of it.
_AS_IT_IS: dict[type, type] = {
    models.CharField: str,
    IdField: str,
    models.TextField: str,
    models.DateTimeField: NoneType,
    models.PositiveIntegerField: int,
}


class _Upsert(NamedTuple):
    insert: str
    row: str
    update: str
    #: The name of each field, the class of values that it leaves as they are, and what prepares others.
    fields: tuple[tuple[str, type | None, Any], ...]

    def sql(self, rows: int) -> str:
        return f"{self.insert}{', '.join([self.row] * rows)}{self.update}"

    def parameters(self, events: Sequence[DeliveryEvent], connection: Any) -> list[Any]:
        return [
            value if (value := values[name]).__class__ is as_it_is else prepare(value, connection)
            for values in (event.__dict__ for event in events)
            for name, as_it_is, prepare in self.fields
        ]


_compiled: dict[Any, _Upsert] = {}


def _upsert(connection: Any) -> _Upsert:
    # Another thread's connection of the same alias needs the same statement.
    key = (connection.alias, connection.vendor, DeliveryEvent._meta.db_table)
    return _compiled.get(key) or _compiled.setdefault(key, _compile(connection))


def _compile(connection: Any) -> _Upsert:
    quote = connection.ops.quote_name
    table = quote(DeliveryEvent._meta.db_table)
    fields = [field for field in DeliveryEvent._meta.concrete_fields if not field.primary_key]
    columns = {field.attname: quote(field.column) for field in fields}
    pk, fingerprint = quote(DeliveryEvent._meta.pk.column), columns["fingerprint"]
    if connection.vendor == "mysql":
        conflict, given, greatest = "ON DUPLICATE KEY UPDATE", "VALUES({})", "GREATEST"
        # It is any unique key: a row with another fingerprint, of a project's own index, stays as it is.
        changed = f"IF({fingerprint} = VALUES({fingerprint}), {{}}, {{}})"
    else:
        conflict, given, changed = f"ON CONFLICT ({fingerprint}) DO UPDATE SET", "EXCLUDED.{}", "{}"
        greatest = "MAX" if connection.vendor == "sqlite" else "GREATEST"
    times, last, secret = columns["times_received"], columns["last_received_at"], columns["secret_id"]
    counted = {
        times: f"{table}.{times} + {given.format(times)}",
        # Whoever came first may be written last.
        last: f"{greatest}({table}.{last}, {given.format(last)})",
        secret: given.format(secret),
    }
    assignments = ", ".join(f"{column} = {changed.format(value, column)}" for column, value in counted.items())
    return _Upsert(
        insert=f"INSERT INTO {table} ({', '.join(columns.values())}) VALUES ",  # noqa: S608  # names, no values
        row=f"({', '.join(['%s'] * len(fields))})",
        update=f" {conflict} {assignments} RETURNING {pk}, {fingerprint}, {times}",
        # By the class itself: one derived from it may do more.
        fields=tuple((field.attname, _AS_IT_IS.get(type(field)), field.get_db_prep_save) for field in fields),
    )


def _store_one_by_one(events: Sequence[DeliveryEvent], alias: str) -> list[DeliveryEvent]:
    with transaction.atomic(using=alias):
        return [event for event in events if _insert_or_count(event, alias)]


def _insert_or_count(event: DeliveryEvent, alias: str) -> bool:
    """Whether the event was new. The row may be deleted between the two statements: then it is new after all."""
    if count_again(event, alias):
        return False
    try:
        with transaction.atomic(using=alias):
            event.save(force_insert=True, using=alias)
    except IntegrityError:
        event.pk = None
        if not count_again(event, alias):
            raise
        return False
    return True


def count_again(row: Any, alias: str, **changes: Any) -> int:
    """Count what came again on the row that has its fingerprint; returns 0 when there is none."""
    updated: int = (
        type(row)
        ._default_manager.using(alias)
        .filter(fingerprint=row.fingerprint)
        .update(
            times_received=F("times_received") + row.times_received,
            last_received_at=Greatest("last_received_at", row.last_received_at),
            secret_id=row.secret_id,
            **changes,
        )
    )
    return updated


# Dispatching


def update(model: type[models.Model], alias: str, changes: dict[str, Any], where: dict[str, Any]) -> int:
    """Set fields of the rows whose fields equal those of ``where``; returns how many rows those were."""
    connection = connections[alias]
    quote = connection.ops.quote_name

    def assignments(values: dict[str, Any], separator: str) -> str:
        return separator.join(f"{quote(_field(model, name).column)} = %s" for name in values)

    table, where_sql = quote(model._meta.db_table), assignments(where, " AND ")
    sql = f"UPDATE {table} SET {assignments(changes, ', ')} WHERE {where_sql}"  # noqa: S608  # names, no values
    values = [*changes.items(), *where.items()]
    params = [_field(model, name).get_db_prep_save(value, connection) for name, value in values]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        updated: int = cursor.rowcount
    return updated


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def fetch(queryset: models.QuerySet[Any]) -> list[Any]:
    """The rows, asked of the database itself: a queryset may be cached by a package that a project uses."""
    sql, params = queryset.query.get_compiler(using=queryset.db).as_sql()
    return list(queryset.model._default_manager.using(queryset.db).raw(sql, params))


# Failing databases


def savepoint(alias: str) -> AbstractContextManager[Any]:
    """What lets a statement fail inside somebody else's transaction; nothing in autocommit mode."""
    return transaction.atomic(using=alias) if connections[alias].in_atomic_block else nullcontext()


def after_commit(alias: str, function: Callable[[], Any]) -> None:
    """Call it when what was written is committed; at once where that has been done by ``trying_again``."""
    connection = connections[alias]
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(function, using=alias, robust=True)
    else:
        function()


def trying_again(alias: str, operation: Callable[[], T]) -> T:
    """Run a write; again after a deadlock or a serialization failure, and once more with a new connection where this
    one is dead or its server has been left behind by a failover.

    Inside somebody else's transaction it runs once, in a savepoint. What it has written is committed when this returns,
    also where a database has ``AUTOCOMMIT: False``. Raises ``django.db.Error``.
    """
    connection: Any = connections[alias]
    used = connection.connection
    operation = partial(_committed, connection, operation)
    try:
        return _through_deadlocks(connection, operation)
    except Error as error:
        if connection.in_atomic_block or connection.connection is None:
            raise
        is_left_behind = bool(codes(error) & _LEFT_BEHIND)
        # One that dies in a transaction of the operation's own, Django has replaced at its end.
        is_dead = (used is not None and connection.connection is not used) or not connection.is_usable()
        if not is_left_behind and not is_dead:
            raise
        _renew(connection, is_left_behind=is_left_behind)
        return _through_deadlocks(connection, operation)


def _committed(connection: Any, operation: Callable[[], T]) -> T:
    if connection.in_atomic_block or connection.get_autocommit():
        with savepoint(connection.alias):
            return operation()
    try:
        result = operation()
        connection.commit()
    except Error:
        connection.rollback()
        raise
    return result


def _through_deadlocks(connection: Any, operation: Callable[[], T]) -> T:
    for _deadlock in range(_MOST_DEADLOCKS):
        try:
            return operation()
        except Error as error:
            if connection.in_atomic_block or not codes(error) & _DEADLOCKS:
                raise
    return operation()


def _renew(connection: Any, *, is_left_behind: bool) -> None:
    pool: Any = getattr(connection, "pool", None)
    is_djangos = type(pool).__module__.startswith("psycopg_pool")
    if is_left_behind and pool is not None and not is_djangos:
        # What others call a pool has other methods, but hands no connection out again that the driver calls closed.
        connection.connection.close()
    with suppress(Error):  # MariaDB's driver closes nothing twice
        connection.close()
    if not is_djangos:
        return
    # Its other connections have died as well, or lead to the same server.
    if is_left_behind:
        connection.close_pool()
    else:
        pool.check()


def codes(error: BaseException) -> set[Any]:
    """SQLSTATE and MariaDB's number, as far as an error of any driver has them."""
    found: set[Any] = set(error.args[:1]) if error.args and isinstance(error.args[0], int) else set()
    cause: Any = error.__cause__
    if cause is not None:
        found |= {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)}
        found.add(getattr(getattr(cause, "diag", None), "sqlstate", None))
    return found - {None}


def refuses_content(error: BaseException) -> bool:
    """Whether the database can't hold what it was given, however often it is tried."""
    # The driver itself may not be able to send a character in the connection's encoding.
    return isinstance(error, DataError | UnicodeEncodeError) or bool(codes(error) & _UNSTORABLE)
