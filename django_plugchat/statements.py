"""The statements that every callback needs, without the ORM compiling them each time.

Compiling the INSERT of a row with so many columns takes the ORM longer than the database needs to store it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from operator import itemgetter
from types import NoneType
from typing import Any, NamedTuple, TypeVar

from django.db import DataError, Error, IntegrityError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict
from django.db.models.signals import post_save, pre_save
from django.db.models.sql import InsertQuery

from django_plugchat.models import DeliveryEvent

T = TypeVar("T")

#: SQLSTATEs and MariaDB's error numbers of what another attempt may not meet: a serialization failure, a deadlock, and
#: a server that has become read-only since this connection was made, as after a failover.
_DEADLOCKS = {"40001", "40P01", 1213}
#: Each one ends with a transaction that stores its rows: the next attempt meets fewer.
_MOST_DEADLOCKS = 4
_READ_ONLY = {"25006", 1290, 1792, 1836}


#: Values of exactly this class need no preparation by a field of exactly that class. Most values of a row are such, and
#: asking each field would take longer than validating the callback.
_WRITTEN_AS_IT_IS: dict[type, type] = {models.CharField: str, models.TextField: str, models.DateTimeField: NoneType}


class _Insert(NamedTuple):
    sql: str
    #: With the class of values that need no preparation.
    fields: tuple[tuple[models.Field[Any, Any], type | None], ...]
    #: Of the parameters, where the SQL has names for them; empty where it takes them by position.
    names: tuple[str, ...]
    returns_key: bool


_compiled: dict[Any, _Insert] = {}


_in_order = itemgetter(*(field.attname for field in DeliveryEvent._meta.concrete_fields))


def new_event(**values: Any) -> DeliveryEvent:
    """An event not stored yet, of a value for each field but its key. By position: by name takes twice as long."""
    return DeliveryEvent(*_in_order(values | {"id": None}))


def insert_unless_known(event: DeliveryEvent, alias: str) -> bool:
    """Insert a new event and set its key. Returns False when no row was inserted: its fingerprint is probably known.

    PostgreSQL and SQLite are told to ignore the conflict, so that a repeated event is no error in their logs.
    """
    connection = connections[alias]
    # MariaDB's IGNORE would also store NULL as '' and cut texts that are too long.
    if connection.vendor == "mysql" or _saving_is_heard():
        try:
            with savepoint(alias):
                insert(event, alias)
        except IntegrityError:
            return False
        return True
    return _execute_insert(event, connection, OnConflict.IGNORE)


def must_count_first(alias: str) -> bool:
    """Whether an event that may be known is to be counted before it is inserted.

    On MariaDB an INSERT that meets a known row keeps a shared lock of it until the transaction ends. Two transactions
    that both have one can't count: each waits for the other.
    """
    return connections[alias].vendor == "mysql" and connections[alias].in_atomic_block


def insert(event: DeliveryEvent, alias: str) -> None:
    """Insert a new event and set its key. Raises ``django.db.Error``."""
    if _saving_is_heard():
        event.save(force_insert=True, using=alias)
    else:
        _execute_insert(event, connections[alias], None)


def _saving_is_heard() -> bool:
    """Whether a project listens to what the ORM says of saving; many listen to all models."""
    return pre_save.has_listeners(DeliveryEvent) or post_save.has_listeners(DeliveryEvent)


def _execute_insert(event: DeliveryEvent, connection: Any, on_conflict: OnConflict | None) -> bool:
    meta = DeliveryEvent._meta
    # Another thread's connection of the same alias and kind needs the same statement.
    key = (connection.alias, type(connection), on_conflict, meta.db_table, len(meta.concrete_fields))
    compiled = _compiled.get(key)
    if compiled is None:
        compiled = _compiled[key] = _compile(event, connection, on_conflict)
    values = event.__dict__
    params: Any = [
        value if (value := values[field.attname]).__class__ is as_it_is else field.get_db_prep_save(value, connection)
        for field, as_it_is in compiled.fields
    ]
    if compiled.names:
        params = dict(zip(compiled.names, params, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(compiled.sql, params)
        if compiled.returns_key:
            row = cursor.fetchone()
            if row is None:
                return False
            event.pk = row[0]
        elif cursor.rowcount:
            event.pk = connection.ops.last_insert_id(cursor, meta.db_table, meta.pk.column)
        else:
            return False
    event._state.adding, event._state.db = False, connection.alias
    return True


def _compile(event: DeliveryEvent, connection: BaseDatabaseWrapper, on_conflict: OnConflict | None) -> _Insert:
    meta = DeliveryEvent._meta
    fields = tuple(field for field in meta.concrete_fields if not field.primary_key)
    query = InsertQuery(DeliveryEvent, on_conflict=on_conflict)
    query.insert_values(fields, [event])
    compiler = query.get_compiler(connection=connection)
    # The others tell it without a row to fetch, which takes a tenth of the INSERT's time on MariaDB.
    returns_key = connection.vendor == "postgresql"
    compiler.returning_fields = [meta.pk] if returns_key else None
    ((sql, _params),) = compiler.as_sql()
    names: tuple[str, ...] = ()
    if connection.vendor == "sqlite":
        # Django looks for each "%s" with a regular expression, every time; names it formats.
        names = tuple(str(number) for number in range(len(fields)))
        sql %= tuple(f"%({name})s" for name in names)
    # By the class itself: one derived from it may do more.
    return _Insert(sql, tuple((field, _WRITTEN_AS_IT_IS.get(type(field))) for field in fields), names, returns_key)


def update(model: type[models.Model], alias: str, changes: dict[str, Any], where: dict[str, Any]) -> int:
    """Set fields of the rows whose fields equal those of ``where``; returns how many rows those were."""
    connection = connections[alias]

    def assignments(values: dict[str, Any], separator: str) -> str:
        return separator.join(f"{_column(model, name, connection)} = %s" for name in values)

    params = [_prepared(model, name, value, connection) for name, value in [*changes.items(), *where.items()]]
    return _execute_update(model, connection, assignments(changes, ", "), assignments(where, " AND "), params)


def count_again(
    model: type[models.Model], alias: str, fingerprint: str, times: int, last_received_at: datetime, **changes: Any
) -> int:
    """Count what came again on the row that has its fingerprint; returns 0 when there is none."""
    connection = connections[alias]
    times_received = _column(model, "times_received", connection)
    last = _column(model, "last_received_at", connection)
    assignments = [
        f"{times_received} = {times_received} + %s",
        # Whoever came first may be written last.
        f"{last} = CASE WHEN {last} < %s THEN %s ELSE {last} END",
        *(f"{_column(model, name, connection)} = %s" for name in changes),
    ]
    moment = _prepared(model, "last_received_at", last_received_at, connection)
    params = [
        _prepared(model, "times_received", times, connection),
        moment,
        moment,
        *(_prepared(model, name, value, connection) for name, value in changes.items()),
        _prepared(model, "fingerprint", fingerprint, connection),
    ]
    where = f"{_column(model, 'fingerprint', connection)} = %s"
    return _execute_update(model, connection, ", ".join(assignments), where, params)


def _execute_update(model: type[models.Model], connection: Any, assignments: str, where: str, params: list[Any]) -> int:
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {assignments} WHERE {where}", params)  # noqa: S608  # names, no values
        updated: int = cursor.rowcount
    return updated


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def _prepared(model: type[models.Model], name: str, value: Any, connection: Any) -> Any:
    return _field(model, name).get_db_prep_save(value, connection)


def _column(model: type[models.Model], name: str, connection: Any) -> str:
    column: str = connection.ops.quote_name(_field(model, name).column)
    return column


def fetch(queryset: models.QuerySet[Any]) -> list[Any]:
    """The rows, asked of the database itself: a queryset may be cached by a package that a project uses."""
    sql, params = queryset.query.get_compiler(using=queryset.db).as_sql()
    return list(queryset.model._default_manager.using(queryset.db).raw(sql, params))


def savepoint(alias: str) -> AbstractContextManager[Any]:
    """What lets a statement fail inside somebody else's transaction; nothing in autocommit mode."""
    return transaction.atomic(using=alias) if connections[alias].in_atomic_block else nullcontext()


def trying_again(alias: str, operation: Callable[[], T]) -> T:
    """Run it; once more with a new connection where this one is dead or read-only, and again after a deadlock."""
    connection: Any = connections[alias]
    used = connection.connection
    try:
        return _through_deadlocks(connection, operation)
    except Error as error:
        if connection.in_atomic_block or connection.connection is None:
            raise
        is_read_only = bool(_codes(error) & _READ_ONLY)
        # One that dies in a transaction of the operation's own, Django has replaced at its end.
        is_dead = (used is not None and connection.connection is not used) or not connection.is_usable()
        if not is_read_only and not is_dead:
            raise
        connection.close()
        if pool := getattr(connection, "pool", None):
            # Its other connections have died as well, or lead to the same server.
            if is_read_only:
                connection.close_pool()
            else:
                pool.check()
        return operation()


def _through_deadlocks(connection: BaseDatabaseWrapper, operation: Callable[[], T]) -> T:
    for _deadlock in range(_MOST_DEADLOCKS):
        try:
            return operation()
        except Error as error:
            if connection.in_atomic_block or not _codes(error) & _DEADLOCKS:
                raise
    return operation()


def _codes(error: Error) -> set[Any]:
    """PostgreSQL's SQLSTATE and MariaDB's number, as far as an error has them."""
    return {getattr(error.__cause__, "sqlstate", None), *error.args[:1]}


def refuses_content(error: Error) -> bool:
    """Whether the database can't hold what it was given, however often it is tried."""
    # 1366 is MariaDB's for characters outside the column's character set.
    return isinstance(error, DataError) or error.args[:1] == (1366,)
