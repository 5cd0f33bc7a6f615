"""The default dispatcher, on ``django.tasks`` of Django 6, or its backport where that is installed on Django 5.2."""

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


class ReceiverFailed(Exception):  # noqa: N818
    """Tells the task framework that a receiver raised. The event says which one, and when it is tried again."""


def as_task(function: Callable[[Any], None]) -> Any:
    """The function as a task of the framework, if it can carry it; else as it is."""
    if framework is None:
        return function
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


@as_task
def tell_receivers(pk: Any) -> None:
    if dispatch.deliver(pk) is dispatch.Attempt.FAILED:
        raise ReceiverFailed("A receiver raised: see the event.")


def enqueue(pk: Any) -> None:
    """The default dispatcher: Django's Tasks framework, or inline where there is none."""
    getattr(tell_receivers, "enqueue", dispatch.deliver)(pk)


def would_run_at_once() -> bool:
    """Whether the default dispatcher would run receivers inside the caller, whatever the framework adds to that."""
    if not dispatch.uses_default_dispatcher() or not hasattr(tell_receivers, "enqueue"):
        return dispatch.uses_default_dispatcher()
    # None of a project's own kind, which may do more. Where TASKS has changed since the start, as in a project's tests,
    # the alias may be gone: enqueueing says so.
    backend: dict[str, object] = framework.task_backends.settings.get(tell_receivers.backend, {})
    return backend.get("BACKEND") == f"{framework.__name__}.backends.immediate.ImmediateBackend"
