import re
from typing import Any

from django.http import HttpRequest
from django.urls import resolve

from django_plugchat.phones.numbers import MASK
from django_plugchat.phones.reading import unquoted
from django_plugchat.redaction.texts import redact

#: The provider sends it with each callback: a credential that can send messages.
CREDENTIAL = "HTTP_Z_API_TOKEN"

_CALLBACK_SEGMENT = re.compile(r"(?:\A|/)callback(?=/|\Z)")
# What may be a secret, or the most of one that was mistyped.
_SECRET = re.compile(r"[A-Za-z0-9_-]{8,}")


def parted(path: str) -> tuple[str, list[str]]:
    """The path of a callback without what follows ``callback/``, and what may be a secret in that.

    Also one that no setting knows, of an account in the database.
    """
    segment = _CALLBACK_SEGMENT.search(path)
    end = segment.end() if segment else 0
    # With a slash at its end, so that APPEND_SLASH leaves it alone.
    return f"{path[:end]}/{MASK}/", _SECRET.findall(path, end)


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


def without(secrets: list[str], text: str) -> str:
    """Proxies repeat the path in headers of their own, with whatever around the secret after they have rewritten it."""
    plain = hidden = unquoted(text)
    for secret in secrets:
        hidden = hidden.replace(secret, MASK)
    if hidden != plain:
        text = hidden
    return redact(text) if "callback" in text or "%" in text else text


def is_callback(request: HttpRequest) -> bool:
    """Whether it is below this app's ``callback/``, as far as a project's URLs can tell."""
    try:
        match = request.resolver_match or resolve(request.path_info, getattr(request, "urlconf", None))
    except Exception:
        return False
    return "plugchat" in match.app_names
