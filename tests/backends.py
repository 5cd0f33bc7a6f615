"""Task backends of projects."""

from importlib.util import find_spec
from typing import Any

from django.utils.module_loading import import_string

_FRAMEWORK = "django.tasks" if find_spec("django.tasks") else "django_tasks"
_ImmediateBackend: Any = import_string(f"{_FRAMEWORK}.backends.immediate.ImmediateBackend")


class Traced(_ImmediateBackend):
    """The immediate backend with more around it, as a tracing package would put there."""
