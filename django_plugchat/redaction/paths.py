from __future__ import annotations

import re

from django.http import HttpRequest
from django.urls import Resolver404, resolve

from django_plugchat.phones.numbers import MASK
from django_plugchat.redaction.texts import redact

#: The provider sends it with each callback: a credential that can send messages.
CREDENTIAL = "HTTP_Z_API_TOKEN"
_CREDENTIAL_HEADER = b"z-api-token"

_CALLBACK_SEGMENT = re.compile(r"(?:\A|/)callback(?=/|\Z)")


def hidden_path(path: str) -> str:
    """The path of a callback without the secret."""
    segment = _CALLBACK_SEGMENT.search(path)
    # With a slash at its end, so that APPEND_SLASH leaves it alone.
    return f"{path[: segment.end()] if segment else ''}/{MASK}/"


def hide_secret(request: HttpRequest) -> None:
    """Replace the path of a callback, and drop the provider's token, once the secret has been read.

    Then middleware, error mails, trackers and the server's access log have nothing left to show. Who called is in
    ``resolver_match``, which names the account.
    """
    request.path = hidden_path(request.path)
    request.path_info = hidden_path(request.path_info)
    meta = request.META
    paths = {"PATH_INFO": request.path_info, "RAW_URI": request.path, "REQUEST_URI": request.path}
    for key, value in meta.items():
        if key in paths:
            meta[key] = paths[key]
        elif value.__class__ is str:
            meta[key] = _hidden_header(value)
    meta.pop(CREDENTIAL, None)
    # Read from META when somebody asks for them again.
    request.__dict__.pop("headers", None)
    scope = getattr(request, "scope", None)
    if scope is not None:
        scope["path"], scope["raw_path"] = request.path, request.path.encode()
        scope["headers"] = [
            (name, _hidden_header(value.decode("latin-1")).encode("latin-1"))
            for name, value in scope["headers"]
            if name.lower() != _CREDENTIAL_HEADER
        ]


def _hidden_header(value: str) -> str:
    # Proxies repeat the path in headers of their own.
    return redact(value) if "callback" in value or "%" in value else value


def is_callback(request: HttpRequest) -> bool:
    """Whether it is below this app's ``callback/``. Raises whatever a project's URLs raise."""
    try:
        match = request.resolver_match or resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return False
    return "plugchat" in match.app_names
