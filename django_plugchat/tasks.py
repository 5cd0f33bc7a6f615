"""The one place that knows the task framework: ``django.tasks`` on Django 6, its backport where installed on 5.2."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django_plugchat import dispatch

framework: Any
try:
    from django import tasks as framework
except ImportError:
    try:
        import django_tasks as framework
    except ImportError:
        framework = None

logger = logging.getLogger(__name__)


def _as_task(function: Callable[[Any], None]) -> Any:
    # The decorator refuses a queue that TASKS does not configure, and "default" need not be.
    try:
        backends = framework.task_backends
        alias = "default" if "default" in backends.settings else next(iter(backends.settings))
        queues = backends[alias].queues
        queue = "default" if not queues or "default" in queues else min(queues)
        return framework.task(backend=alias, queue_name=queue)(function)
    except Exception:
        logger.exception("TASKS can't carry events: receivers run inside the request until it can.")
        return function


def deliver_event(pk: Any) -> None:
    dispatch.deliver(pk)


if framework is not None:
    deliver_event = _as_task(deliver_event)


def enqueue_delivery(pk: Any) -> None:
    getattr(deliver_event, "enqueue", deliver_event)(pk)
