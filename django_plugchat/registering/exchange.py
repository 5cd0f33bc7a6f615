"""One HTTP request and its answer, within a deadline."""

import logging
import socket
import time
from codecs import BOM_UTF8
from collections.abc import Mapping
from contextvars import ContextVar
from http.client import HTTPResponse
from json import loads
from typing import Any, NamedTuple

import requests
import urllib3
from django.views.decorators.debug import sensitive_variables
from requests.adapters import HTTPAdapter

from django_plugchat import __version__

#: Bytes of an answer that are read. What is asked here has short answers; a page of somebody else may be of any length.
LONGEST_ANSWER = 65536
_TROUBLES = {
    requests.Timeout: "TIMEOUT",
    # From reading: requests makes its own of all that came before.
    urllib3.exceptions.HTTPError: "TIMEOUT",
    requests.exceptions.ProxyError: "PROXY",
    requests.exceptions.SSLError: "TLS",
}

# What urllib3 says of our requests is dropped: their paths hold secrets and tokens.
_is_ours: ContextVar[bool] = ContextVar("django_plugchat_request", default=False)
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: not _is_ours.get())


class Answer(NamedTuple):
    """What came, or why nothing did. That is no error: the frames of requests' own hold everything that was sent."""

    status: int = 0
    headers: Mapping[str, str] = {}
    body: bytes = b""
    #: ``PROXY``, ``TLS``, ``CONNECTION``; ``TIMEOUT`` where it was not whole in time, or broke off: then the
    #: request may have been taken.
    trouble: str = ""
    #: In the system's words. Not the whole text of an error: that may quote what was sent or answered.
    reason: str = ""

    def json(self) -> Any:
        """None for what is not JSON."""
        try:
            return loads(self.body)
        except (ValueError, RecursionError):
            return None

    def is_page(self) -> bool:
        """Whether it is meant for people or for a program of another kind, as HTML is."""
        kind = self.headers.get("Content-Type", "").lower()
        is_marked_up = self.body.removeprefix(BOM_UTF8).lstrip().startswith(b"<") or "html" in kind or "xml" in kind
        return bool(self.body) and is_marked_up and self.json() is None


@sensitive_variables()
def exchange(method: str, url: str, *, json: Any, timeout: float, headers: Mapping[str, str] = {}) -> Answer:
    """Send a request, within ``timeout`` seconds for connecting and reading. No redirects."""
    before = _is_ours.set(True)
    try:
        with requests.Session() as session:
            # Plain HTTP never leaves this machine, so no proxy gets to see it.
            session.trust_env = url.lower().startswith("https:")
            session.mount("https://", _Adapter())
            session.mount("http://", _Adapter())
            # Without one, requests would put what a .netrc says above an Authorization header.
            session.auth = lambda request: request
            options: Any = {"timeout": urllib3.Timeout(total=timeout), "allow_redirects": False, "stream": True}
            options["headers"] = {"User-Agent": f"django-plugchat/{__version__}", **headers}
            with session.request(method, url, json=json, **options) as response:
                body = response.raw.read(LONGEST_ANSWER, decode_content=True)
                return Answer(response.status_code, response.headers, body)
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        return _no_answer(error)
    finally:
        _is_ours.reset(before)


def _no_answer(error: Exception) -> Answer:
    innermost: BaseException = error
    while inner := innermost.__cause__ or innermost.__context__:
        innermost = inner
    trouble = next((trouble for kind, trouble in _TROUBLES.items() if isinstance(error, kind)), "CONNECTION")
    return Answer(trouble=trouble, reason=getattr(innermost, "strerror", None) or type(innermost).__name__)


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = type("Connection", (pool.ConnectionCls,), {"response_class": _Response})
        return pool


class _Response(HTTPResponse):
    """Reads an answer within one timeout in all.

    The timeout of a socket is for each read: a server that sends a byte now and then keeps its client for ever.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw: Any = self.fp.raw
        read, ends_at = raw.readinto, time.monotonic() + (sock.gettimeout() or 0)

        def read_in_time(buffer: Any) -> Any:
            sock.settimeout(max(ends_at - time.monotonic(), 0.001))
            return read(buffer)

        raw.readinto = read_in_time
