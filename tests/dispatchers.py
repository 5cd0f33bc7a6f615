"""Dispatchers of projects with a queue of their own."""

from __future__ import annotations

from typing import Any

remembered: list[Any] = []
#: What those that come last were called with.
queue: list[Any] = []


def remember(pk: Any) -> None:
    remembered[:] = [pk]


def fail(pk: Any) -> None:
    raise ConnectionError("the queue is away; redis://:554499999999@queue")


def into_queue(pk: Any) -> None:
    queue.append(pk)


def down(pk: Any) -> None:
    queue.append(pk)
    raise ConnectionError("554499999999")


def up_every_tenth_time(pk: Any) -> None:
    queue.append(pk)
    if len(queue) % 10:
        raise ConnectionError
