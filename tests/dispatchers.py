"""Dispatchers of projects with a queue of their own. Each puts what it is called with into ``queue``."""

from typing import Any

from django_plugchat import dispatch

queue: list[Any] = []


def into_queue(pk: Any) -> None:
    queue.append(pk)


def at_once(pk: Any) -> None:
    """As Celery does where its tasks are eager. The key may have become a string on its way."""
    dispatch.deliver(str(pk))


def down(pk: Any) -> None:
    queue.append(pk)
    raise ConnectionError("redis://:554499999999@queue")


def exits(pk: Any) -> None:
    queue.append(pk)
    raise SystemExit


def down_the_first_time(pk: Any) -> None:
    queue.append(pk)
    if len(queue) == 1:
        raise ConnectionError


def up_every_tenth_time(pk: Any) -> None:
    queue.append(pk)
    if len(queue) % 10:
        raise ConnectionError
