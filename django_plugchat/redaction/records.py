import logging
import re
import sys
import traceback
from collections.abc import Callable
from copy import copy
from typing import Any

from django.core.signals import request_started
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import LazyObject

from django_plugchat.phones.numbers import MASK
from django_plugchat.redaction.paths import CREDENTIAL, hide_secret, is_callback, parted, without
from django_plugchat.redaction.texts import redact

_OWN_TABLE = re.compile(r"\bdjango_plugchat_\w+")
_STANDARD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime"}
_DJANGO_LOGGERS = ("django.request", "django.security", "django.server")


class RedactingFilter(logging.Filter):
    """For handlers: of access and error logs, of ``django.server``, of ``django.db.backends``. Lets every record pass.

    Takes out what ``redact`` does, and of an SQL statement on this app's tables everything but the table's name: the
    rest holds numbers and payloads. Structured records keep their shape.
    """

    def filter(self, record: Any) -> bool:
        _rewrite(record, redact)
        if table := _OWN_TABLE.search(str(getattr(record, "sql", ""))):
            record.msg = record.sql = f"{MASK} statement on {table[0]}"
            record.args, record.params = (), None
        return True


def _rewrite(record: logging.LogRecord, rewrite: Callable[[str], str]) -> None:
    attributes = vars(record)
    for key in attributes.keys() - _STANDARD_ATTRIBUTES | {"args", "stack_info"}:
        attributes[key] = _rewritten(attributes[key], rewrite)
    if error := _rewritten_error(record.exc_info, rewrite):
        record.exc_info, record.exc_text = None, error
    try:
        message = record.getMessage()
    except Exception:
        message = None  # a wrong call, of which logging shows both parts
    if message is None or isinstance(record.msg, dict | list | tuple):
        record.msg = _rewritten(record.msg, rewrite)
    elif (rewritten := rewrite(message)) != message:
        # As a whole, where the message puts together what its arguments hold.
        record.msg, record.args = rewritten, ()


def _rewritten(value: Any, rewrite: Callable[[str], str], depth: int = 20) -> Any:
    """The same value in the same shape, with its texts rewritten; never an error, which the application would get."""
    # Looking at what is lazy would ask the database.
    if value is None or isinstance(value, LazyObject | QuerySet | int | float):
        return value
    try:
        if isinstance(value, dict) and depth:
            # A copy of the same class: the formats of some servers rely on what theirs gives beside its keys.
            result = copy(value)
            for key, item in value.items():
                result[key] = item if key == "exc_info" else _rewritten(item, rewrite, depth - 1)
            # Under this name structlog passes an error, to be formatted after this.
            if error := _rewritten_error(value.get("exc_info"), rewrite):
                del result["exc_info"]
                result["exception"] = error
            return result
        if type(value) in (list, tuple) and depth:
            return type(value)(_rewritten(item, rewrite, depth - 1) for item in value)
        rewritten = rewrite(shown := str(value))
    except Exception:
        return type(value).__name__
    return value if rewritten == shown else rewritten


def _rewritten_error(exc_info: Any, rewrite: Callable[[str], str]) -> str:
    """The traceback, if there is something to rewrite in it."""
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if error is True:
        error = sys.exception()
    if not isinstance(error, BaseException):
        return ""
    shown = "".join(traceback.format_exception(error)).rstrip("\n")
    rewritten = rewrite(shown)
    return "" if rewritten == shown else rewritten


class _Protection(logging.Handler):
    """Rewrites Django's own records of callbacks before the handlers after it see them.

    A handler, since a logger's filter does not see the records of the loggers below it, and some of those come to be
    only when a project first raises its own SuspiciousOperation.
    """

    def emit(self, record: Any) -> None:
        secrets: list[str] = []
        request = getattr(record, "request", None)
        if isinstance(request, HttpRequest):
            is_ours, path = is_callback(request), request.get_full_path()
            if is_ours or CREDENTIAL in request.META or redact(path) != path:
                # With it AdminEmailHandler and others would show the path again, the provider's token, and the body.
                del record.request
            if is_ours:
                _path, secrets = parted(request.path_info)
                if hasattr(record, "status_code"):
                    # It is answered, so that nobody needs the path any more. What middleware raised before the view
                    # could hide it shows the request again: a report of the error has the variables of each frame.
                    hide_secret(request)
        _rewrite(record, lambda text: redact(without(secrets, text)))


_protection = _Protection()


def protect_django_logs(**kwargs: Any) -> None:
    """Django logs the path of every answer from 400 on; what middleware answers never reaches the view.

    Called by ``request_started`` as well: under runserver ``django.setup()`` runs twice, and configures logging anew.
    """
    if _protection in logging.getLogger(_DJANGO_LOGGERS[-1]).handlers:
        return
    below = tuple(f"{name}." for name in _DJANGO_LOGGERS)
    for name in [*_DJANGO_LOGGERS, *logging.root.manager.loggerDict]:
        if f"{name}.".startswith(below) and _protection not in (handlers := logging.getLogger(name).handlers):
            # Handlers are called in their order, those of a logger before its parent's.
            handlers.insert(0, _protection)
    request_started.connect(protect_django_logs, dispatch_uid="django_plugchat.protect_django_logs")
