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
from django_plugchat.redaction.paths import CREDENTIAL, hidden_path, hide_secret, is_callback, secrets_in, without
from django_plugchat.redaction.texts import redact

_OWN_TABLE = re.compile(r"\bdjango_plugchat_\w+")
_MAX_DEPTH = 20
_STANDARD_ATTRIBUTES = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime"})
_DJANGO_LOGGERS = ("django.request", "django.security", "django.server")


class RedactingFilter(logging.Filter):
    """For handlers: of access and error logs, of ``django.server``, of ``django.db.backends``. Lets every record pass.

    Takes out what ``redact`` does, and of an SQL statement on this app's tables everything but the table's name: the
    rest holds numbers and payloads. Structured records keep their shape.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        _hide_statement(record)
        _rewrite(record, redact)
        return True


def _hide_statement(record: Any) -> None:
    table = _OWN_TABLE.search(_shown(getattr(record, "sql", "")))
    if table:
        record.sql, record.params = f"{MASK} statement on {table[0]}", None
        record.msg, record.args = record.sql, ()


def _rewrite(record: logging.LogRecord, rewrite: Callable[[str], str]) -> None:
    for key in record.__dict__.keys() - _STANDARD_ATTRIBUTES | {"args", "stack_info"}:
        record.__dict__[key] = _rewritten(record.__dict__[key], rewrite)
    if error := _rewritten_error(record.exc_info, rewrite):
        record.exc_info, record.exc_text = None, error
    if isinstance(record.msg, dict | list | tuple):
        record.msg = _rewritten(record.msg, rewrite)
        return
    try:
        message = record.getMessage()
    except Exception:
        # A wrong call, which logging shows without raising: so does this.
        message = f"{_shown(record.msg)} {_shown(record.args)}"
    # Once more as a whole, where the message puts together what its arguments hold.
    rewritten = rewrite(message)
    if rewritten != message:
        record.msg, record.args = rewritten, ()


def _shown(value: Any) -> str:
    """The value as a text; the name of its class where it has none to give."""
    try:
        return str(value)
    except Exception:
        return type(value).__name__


def _rewritten(value: Any, rewrite: Callable[[str], str], depth: int = _MAX_DEPTH) -> Any:
    """The same value in the same shape, with its texts rewritten; never an error, which the application would get."""
    # Looking at what is lazy would ask the database.
    if value is None or isinstance(value, LazyObject | QuerySet | int | float):
        return value
    try:
        if isinstance(value, str):
            return rewrite(value)
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

    def emit(self, record: logging.LogRecord) -> None:
        request = getattr(record, "request", None)
        if isinstance(request, HttpRequest):
            _hide_request(record, request)
        else:
            _rewrite(record, redact)


def _hide_request(record: logging.LogRecord, request: HttpRequest) -> None:
    path, secrets, ours = request.path, secrets_in(request.path_info), is_callback(request)
    if ours or CREDENTIAL in request.META or redact(request.get_full_path()) != request.get_full_path():
        # With it AdminEmailHandler and others would show the path again, the provider's token, and the body.
        del record.__dict__["request"]
    if not ours:
        _rewrite(record, redact)
        return
    if hasattr(record, "status_code"):
        # It is answered, so that nobody needs the path any more. What middleware raised before the view could hide it
        # shows the request again: a report of the error has the variables of each frame.
        hide_secret(request)
    # As Django writes it.
    escaped, hidden = path.encode("unicode_escape").decode("ascii"), hidden_path(path)
    _rewrite(record, lambda text: redact(without(secrets, text.replace(escaped, hidden).replace(path, hidden))))


def protect_django_logs(**kwargs: Any) -> None:
    """Django logs the path of every answer from 400 on; what middleware answers never reaches the view.

    Called by ``request_started`` as well: under runserver ``django.setup()`` runs twice, and configures logging anew.
    """
    if _is_protected(logging.getLogger(_DJANGO_LOGGERS[-1])):
        return
    below = tuple(f"{name}." for name in _DJANGO_LOGGERS)
    for name in [*_DJANGO_LOGGERS, *(name for name in logging.root.manager.loggerDict if name.startswith(below))]:
        logger = logging.getLogger(name)
        if not _is_protected(logger):
            # Handlers are called in their order, those of a logger before its parent's.
            logger.handlers.insert(0, _Protection())
    request_started.connect(protect_django_logs, dispatch_uid="django_plugchat.protect_django_logs")


def _is_protected(logger: logging.Logger) -> bool:
    return any(isinstance(handler, _Protection) for handler in logger.handlers)
