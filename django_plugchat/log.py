"""Keeps secrets and personal data out of logs that this app does not write itself."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from copy import copy

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest
from django.urls import resolve

from django_plugchat.conf import app_settings

REDACTED = "[redacted]"

# Also a secret that is mistyped or retired, however it is percent-encoded.
_CALLBACK_PATH = re.compile(r"(callback(?:/|%2f)+)[^\s\"'?<>/]+", re.IGNORECASE)
# A search in the admin is a GET: its query string holds the number that somebody looked for.
_ADMIN_QUERY = re.compile(r"(/django_plugchat/[^\s\"'?]*\?)[^\s\"']+")
_OWN_TABLE = re.compile(r"\bdjango_plugchat_\w+")


def redact(text: str) -> str:
    """The text without webhook secrets, tokens, and queries of this app's admin pages."""
    text = _CALLBACK_PATH.sub(rf"\1{REDACTED}", text)
    text = _ADMIN_QUERY.sub(rf"\1{REDACTED}", text)
    # The longest first: one may begin with another.
    for secret in sorted(app_settings.confidential(), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


def _rewrite_args(record: logging.LogRecord, rewrite: Callable[[str], str]) -> None:
    # Their shape stays: the formatters of some servers take them apart.
    if isinstance(record.args, tuple):
        record.args = tuple(rewrite(arg) if isinstance(arg, str) else arg for arg in record.args)
    elif isinstance(record.args, dict):
        args = copy(record.args)
        for key, arg in record.args.items():
            if isinstance(arg, str):
                args[key] = rewrite(arg)
        record.args = args


class RedactingFilter(logging.Filter):
    """For the handlers of access logs and of ``django.db.backends``; lets every record pass.

    Takes out webhook secrets and tokens, the queries of this app's admin pages, and of an SQL statement on this
    app's tables everything but the table's name: the rest holds numbers and payloads.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        _rewrite_args(record, redact)
        try:
            message = record.getMessage()
        except Exception:
            # A wrong call, which logging shows without raising: so does this filter.
            message = f"{record.msg} {record.args}"
        table = _OWN_TABLE.search(message) if hasattr(record, "sql") else None
        if table:
            record.sql = record.params = None
            shown = f"{REDACTED} statement on {table[0]}"
        else:
            shown = redact(message)
        if shown != message:
            record.msg, record.args = shown, ()
        return True


def _is_callback(request: HttpRequest) -> bool:
    # Resolved here: where a middleware answered, the request has no resolver_match.
    try:
        return "plugchat" in resolve(request.path_info, getattr(request, "urlconf", None)).app_names
    except Exception:
        # Whatever a project's URLs raise is theirs to show: raised here, it would take the place of their error page.
        return False


class CallbackRequestFilter(logging.Filter):
    """Takes the secret out of Django's own records of requests below ``callback/``."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        if isinstance(request, HttpRequest) and _is_callback(request):
            # With it AdminEmailHandler and others would show the path again, and the body.
            del record.__dict__["request"]
            path = request.path
            hidden = f"{path[: path.index('callback')]}callback/{REDACTED}"
            escaped = path.encode("unicode_escape").decode("ascii")
            _rewrite_args(record, lambda arg: arg.replace(escaped, hidden).replace(path, hidden))
        return True


def protect_request_logger() -> None:
    """Django logs the path of every answer from 400 on; what middleware answers never reaches the view."""
    callback_filter = CallbackRequestFilter()
    # A logger's filter does not see the records of those below it: each is named.
    suspicious = ["SuspiciousOperation", *(kind.__name__ for kind in SuspiciousOperation.__subclasses__())]
    for name in ("request", "security.csrf", *(f"security.{kind}" for kind in suspicious)):
        logging.getLogger(f"django.{name}").addFilter(callback_filter)
