"""Faults and races of a database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
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
    """Wraps the database: does something before the first statements that begin in a certain way."""

    def __init__(self, start: str, action: Callable[[], Any], times: int = 1) -> None:
        self.start, self.action, self.times = start, action, times

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(self.start) and self.times:
            self.times -= 1
            self.action()
        return execute(sql, params, many, context)


def raising(error: BaseException) -> Callable[..., Any]:
    def raise_error(*args: Any, **kwargs: Any) -> Any:
        raise error

    return raise_error


def kill(statement_of_its_number: str, kill_statement: str) -> None:
    """End the default connection from another one, as a restart of the database does."""
    with connection.cursor() as cursor:
        cursor.execute(statement_of_its_number)
        (number,) = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(kill_statement, [number])
    other.close()
