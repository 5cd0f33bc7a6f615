"""Dispatchers of projects with a queue of their own. As a program: a worker whose receiver kills it."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

remembered: list[Any] = []


def remember(pk: Any) -> None:
    remembered[:] = [pk]


def fail(pk: Any) -> None:
    raise ConnectionError("the queue is away; redis://:554499999999@queue")


def kill_worker(**kwargs: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    import django

    django.setup()

    from django_plugchat.dispatch import deliver
    from django_plugchat.signals import delivery_recorded

    delivery_recorded.connect(kill_worker)
    deliver(int(sys.argv[1]))
