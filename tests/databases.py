"""Faults and races of a database."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections


def in_threads(calls: Iterable[Callable[[], Any]], threads: int) -> list[Any]:
    """Call them at once, each with a connection of its own; returns what they return."""

    def run(call: Callable[[], Any]) -> Any:
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, calls))


class Interrupt:
    """Wraps the database: does something before the first statements that begin in a certain way, ``after`` so many."""

    def __init__(self, start: str, action: Callable[[], Any], times: int = 1, after: int = 0) -> None:
        self.start, self.action, self.times, self.after = start, action, times, after

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(self.start) and self.after:
            self.after -= 1
        elif sql.startswith(self.start) and self.times:
            self.times -= 1
            self.action()
        return execute(sql, params, many, context)


def raising(error: BaseException) -> Callable[..., Any]:
    def raise_error(*args: Any, **kwargs: Any) -> Any:
        raise error

    return raise_error


@contextmanager
def switching(on: str, off_by_vendor: dict[str, str], off: str) -> Iterator[None]:
    """Execute a statement, and at the end the one that takes it back on this database."""
    with connection.cursor() as cursor:
        cursor.execute(on)
        try:
            yield
        finally:
            cursor.execute(off_by_vendor.get(connection.vendor, off))


def kill_connection(monkeypatch: Any, victim: Any = connection) -> None:
    """What a restart of the database does to a connection that is idle meanwhile."""
    victim.ensure_connection()
    if victim.vendor == "sqlite":
        # A file does not go away: the only engine where this has to be acted.
        dead, is_usable = victim.connection, victim.is_usable
        monkeypatch.setattr(victim, "is_usable", lambda: victim.connection is not dead and is_usable())
        dead.close()
        return
    with victim.cursor() as cursor:
        cursor.execute({"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}[victim.vendor])
        (number,) = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute({"postgresql": "SELECT pg_terminate_backend(%s)", "mysql": "KILL %s"}[victim.vendor], [number])
    other.close()
