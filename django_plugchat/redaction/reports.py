"""What others get to see of a callback: requests, the records of loggers, the events of Sentry."""

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
from django.urls import resolve
from django.utils.functional import LazyObject

from django_plugchat.phones.numbers import MASK, mask_numbers
from django_plugchat.redaction.texts import parted, redact, without

#: The provider sends it with each callback: a credential that can send messages.
CREDENTIAL = "HTTP_Z_API_TOKEN"

_OWN_TABLE = re.compile(r"\bdjango_plugchat_\w+")
_STANDARD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime"}
_DJANGO_LOGGERS = ("django.request", "django.security", "django.server")

_APP = "django_plugchat"
# What tells where it happened.
_PLACES = ("exception", "logger", "request", "stacktrace", "threads", "transaction")
# Of the whole event, what Sentry needs as it is.
_AS_IT_IS = {"_meta", "dist", "environment", "level", "modules", "platform", "release", "sdk", "server_name"}
_IDS_AND_TIMES = {"event_id", "parent_span_id", "span_id", "start_timestamp", "timestamp", "trace_id"}
_ID_OR_TIME = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(?:Z|\+00:00)?")
_CREDENTIALS = {"authorization", "cookie", "z-api-token"}


def hide_secret(request: HttpRequest) -> None:
    """Replace the path of a callback, and drop the provider's token, once the secret has been read.

    Then middleware, error mails, trackers and the server's access log have nothing left to show. Who called is in
    ``resolver_match``, which names the account.
    """
    request.path, _secrets = parted(request.path)
    request.path_info, secrets = parted(request.path_info)
    meta = request.META
    paths = {"PATH_INFO": request.path_info, "RAW_URI": request.path, "REQUEST_URI": request.path}
    for key, value in meta.items():
        if isinstance(value, str):
            meta[key] = paths.get(key) or without(secrets, value)
    meta.pop(CREDENTIAL, None)
    # Read from META when somebody asks for them again.
    request.__dict__.pop("headers", None)
    scope: Any = getattr(request, "scope", None)
    if scope is not None:
        scope["path"], scope["raw_path"] = request.path, request.path.encode()
        scope["query_string"] = meta["QUERY_STRING"].encode()
        scope["headers"] = [
            (name, without(secrets, value.decode("latin-1")).encode("latin-1", "replace"))
            for name, value in scope["headers"]
            if name.lower() != b"z-api-token"
        ]


def is_callback(request: HttpRequest) -> bool:
    """Whether it is below this app's ``callback/``, as far as a project's URLs can tell."""
    try:
        match = request.resolver_match or resolve(request.path_info, getattr(request, "urlconf", None))
    except Exception:
        return False
    return "plugchat" in match.app_names


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


def before_send(event: Any, hint: Any) -> Any:
    """For ``sentry_sdk.init(before_send=…, before_send_transaction=…)``: no secret, token, number or body leaves.

    Every text loses what ``redact`` takes out and its runs of seven or more digits. What is about this app keeps of
    an error its class and where it was raised, and of a request its method and path.
    """
    request = event.get("request") or {}
    path = f"{request.get('url')} {event.get('transaction')}"
    is_ours = MASK in path or redact(path) != path or _APP in str([event.get(place) for place in _PLACES])
    if is_ours and request:
        event["request"] = {key: request[key] for key in ("method", "url") if key in request}
    return {key: value if key in _AS_IT_IS else _hidden(value, key, is_ours) for key, value in event.items()}


def _hidden(value: Any, key: str, is_ours: bool) -> Any:
    if isinstance(value, dict):
        items = ((str(name), item) for name, item in value.items() if not (is_ours and name == "vars"))
        return {mask_numbers(redact(name)): _hidden(item, name, is_ours) for name, item in items}
    if isinstance(value, list | tuple):
        return [_hidden(item, "", is_ours) for item in value]
    is_text = isinstance(value, str)
    # The "value" of an error is its text.
    if key.lower() in _CREDENTIALS or (is_ours and key == "value" and is_text):
        return MASK
    if key in _IDS_AND_TIMES and (not is_text or _ID_OR_TIME.fullmatch(value)):
        return value
    if isinstance(value, int | float) and abs(value) >= 10**6:  # seven digits
        return MASK
    return mask_numbers(redact(value)) if is_text else value
