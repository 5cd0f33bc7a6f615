"""Dispatchers of projects with a queue of their own."""

from __future__ import annotations

from typing import Any

remembered: list[Any] = []


def remember(pk: Any) -> None:
    remembered[:] = [pk]


def fail(pk: Any) -> None:
    raise ConnectionError("the queue is away; redis://:554499999999@queue")
