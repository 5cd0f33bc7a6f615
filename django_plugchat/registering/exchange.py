"""One HTTP request and its answer, within a deadline."""

import io
import json
import logging
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any, NamedTuple

import requests
import urllib3
from django.views.decorators.debug import sensitive_variables
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from django_plugchat import __version__

#: Bytes of an answer that are read. What is asked here has short answers; a page of somebody else may be of any length.
LONGEST_ANSWER = 65536
#: Seconds that a Retry-After may ask of somebody who waits in front of a terminal.
LONGEST_WAIT = 30
#: Answers of a server that may take the same request later.
_PASSING = frozenset({429, 502, 503, 504})
#: Failed connections that another attempt would not mend.
_LASTING = (requests.exceptions.SSLError, requests.exceptions.ProxyError, requests.Timeout)

_is_ours: ContextVar[bool] = ContextVar("django_plugchat_request", default=False)


class NoWholeAnswer(Exception):  # noqa: N818
    """The request was sent, and the answer did not come in time or broke off: it may have been taken."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """None for what is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def is_page(self) -> bool:
        """Whether it is meant for people or for a program of another kind, as HTML is."""
        if not self.body or self.json() is not None:
            return False
        text = self.body.decode("utf-8-sig", errors="replace").lstrip()
        kind = self.headers.get("Content-Type", "").lower()
        is_plain = len(self.body) <= LONGEST_ANSWER and "\N{REPLACEMENT CHARACTER}" not in text
        return not is_plain or text.startswith("<") or "html" in kind or "xml" in kind

    def wait(self) -> float | None:
        """Seconds after which the same request may be taken: 0 if it doesn't say. None if another won't help."""
        asked = self.headers.get("Retry-After", "")
        seconds = int(asked) if re.fullmatch("[0-9]{1,9}", asked) else 0
        return seconds if self.status in _PASSING and seconds <= LONGEST_WAIT else None


class Headers(AuthBase):
    """Headers with credentials, as an auth object: requests would put what a .netrc says beside or above them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self.headers)
        return request


@sensitive_variables()
def exchange(
    method: str, url: str, *, timeout: float, pauses: Iterable[float] = (), trust_env: bool = True, **options: Any
) -> Answer:
    """Send a request, each attempt within ``timeout`` seconds for connecting and reading. No redirects.

    ``pauses`` are the seconds before each further attempt: after a connection that was refused or closed without an
    answer, and after an answer that says to come later, unless that is too late.

    Raises NoWholeAnswer, or what requests raises, whose frames hold everything that was sent.
    """
    for pause in pauses:
        wait: float | None = 0
        try:
            answer = _attempt(method, url, timeout, trust_env, options)
            wait = answer.wait()
        except _LASTING:
            raise
        except requests.ConnectionError:
            pass
        if wait is None:
            return answer
        if seconds := wait or pause:
            time.sleep(seconds)
    return _attempt(method, url, timeout, trust_env, options)


@sensitive_variables()
def _attempt(method: str, url: str, timeout: float, trust_env: bool, options: dict[str, Any]) -> Answer:
    before = _is_ours.set(True)
    options |= {"timeout": urllib3.Timeout(total=timeout), "allow_redirects": False, "stream": True}
    try:
        with requests.Session() as session:
            session.trust_env = trust_env
            session.headers["User-Agent"] = f"django-plugchat/{__version__}"
            session.mount("https://", _Adapter())
            session.mount("http://", _Adapter())
            with session.request(method, url, **options) as response:
                try:
                    body = response.raw.read(LONGEST_ANSWER + 1, decode_content=True)
                except (urllib3.exceptions.HTTPError, OSError):
                    raise NoWholeAnswer from None
                return Answer(response.status_code, response.headers, body)
    except requests.ReadTimeout:
        raise NoWholeAnswer from None
    finally:
        _is_ours.reset(before)


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
        self.fp = io.BufferedReader(_Reads(sock, self.fp.detach()))


class _Reads(io.RawIOBase):
    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._socket, self._raw = sock, raw
        self._ends_at = time.monotonic() + (sock.gettimeout() or 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Any:
        self._socket.settimeout(max(self._ends_at - time.monotonic(), 0.001))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


# What urllib3 says of our requests is dropped: their paths hold secrets and tokens.
for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(lambda record: not _is_ours.get())


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was made of, the innermost last."""
    while error is not None:
        yield error
        inner = (error.__cause__, getattr(error, "reason", None), *error.args)
        error = next((candidate for candidate in inner if isinstance(candidate, BaseException)), None)


def reason(error: BaseException) -> str:
    """The innermost error in the system's words. Not its whole text: that may quote what was sent or answered."""
    *_outer, innermost = causes(error)
    return getattr(innermost, "strerror", None) or type(innermost).__name__
