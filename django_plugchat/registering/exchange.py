"""One HTTP request and its answer, within a deadline."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from typing import Any, NamedTuple, Self

import requests
from django.views.decorators.debug import sensitive_variables
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import InvalidHeader, MaxRetryError, ReadTimeoutError, SSLError

from django_plugchat import __version__

#: Bytes of an answer that are read. What is asked here has short answers; a page of somebody else may be of any length.
LONGEST_ANSWER = 65536
#: Seconds that a Retry-After may ask for.
LONGEST_WAIT = 30

_THREAD_NAME = "django_plugchat.registering.exchange"


class TooSlow(Exception):  # noqa: N818
    """The deadline passed before the last byte."""


class BrokenAnswer(Exception):  # noqa: N818
    """The answer began and did not end."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes
    #: It may be tried again, but not as soon as somebody would wait for.
    asks_to_wait: bool

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
        try:
            text = self.body.decode("utf-8-sig")
        except UnicodeDecodeError:
            return True
        kind = self.headers.get("Content-Type", "").lower()
        return text.lstrip().startswith("<") or "html" in kind or "xml" in kind or len(self.body) > LONGEST_ANSWER


class _Deadline:
    """When the attempt under way must have ended. The thread that makes it sets it, the one that waits reads it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self, pause: float = 0) -> None:
        self.ends_at = time.monotonic() + pause + self.seconds

    @property
    def left(self) -> float:
        return self.ends_at - time.monotonic()


class _Retry(Retry):
    """urllib3's own waits for as long as it is told, and raises for a Retry-After that it can't read. It also repeats a
    request that timed out, which would keep the caller of a server that hangs four times as long.
    """

    deadline: _Deadline

    def new(self, **changes: Any) -> Self:
        retry = super().new(**changes)
        retry.deadline = self.deadline
        return retry

    def parse_retry_after(self, retry_after: str) -> float:
        try:
            return super().parse_retry_after(retry_after)
        except (InvalidHeader, ValueError, OverflowError):
            return 0

    def asks_to_wait(self, response: Any) -> bool:
        return response.status in self.status_forcelist and (self.get_retry_after(response) or 0) > LONGEST_WAIT

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        if isinstance(error, ReadTimeoutError | SSLError):
            raise error
        # After the deadline nobody waits for another attempt.
        if self.deadline.left <= 0 or (response is not None and self.asks_to_wait(response)):
            raise MaxRetryError(_pool, url or "", error)
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def sleep(self, response: Any = None) -> None:
        self.deadline.renew(pause=LONGEST_WAIT)
        super().sleep(response)
        self.deadline.renew()


class _OtherThreads(logging.Filter):
    """Drops what urllib3 says of our requests: the path of a callback holds a secret, and what became of a request is
    told once, by an exception.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != _THREAD_NAME


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_OtherThreads())


@sensitive_variables()
def exchange(
    method: str,
    url: str,
    *,
    timeout: float,
    retries: int = 0,
    backoff: float = 0,
    trust_env: bool = True,
    **options: Any,
) -> Answer:
    """Send a request, each attempt within ``timeout`` seconds from connecting to the last byte. No redirects.

    The timeouts of requests and urllib3 are for each address and each read: a server that sends a byte now and then
    keeps its client for ever, and the look-up of a name is not under them at all. So another thread makes the request.
    Nobody can end a thread that waits for bytes: one that is too slow is left behind.

    Raises TooSlow, BrokenAnswer, or what requests raises, whose frames hold everything that was sent.
    """
    deadline = _Deadline(timeout)
    retry = _Retry(
        total=retries, status_forcelist={429, 502, 503, 504}, backoff_factor=backoff / 2, raise_on_status=False
    )
    retry.deadline = deadline
    answer: Future[Answer] = Future()

    @sensitive_variables()
    def make() -> None:
        try:
            answer.set_result(_send(method, url, retry, trust_env=trust_env, **options))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=make, name=_THREAD_NAME, daemon=True).start()
    while not answer.done():
        if deadline.left <= 0:
            raise TooSlow
        # In pieces, because a timeout of the setting may be longer than a lock can wait.
        wait([answer], min(deadline.left, 60))
    return answer.result()


@sensitive_variables()
def _send(method: str, url: str, retry: _Retry, *, trust_env: bool, **options: Any) -> Answer:
    with requests.Session() as session:
        session.trust_env = trust_env
        session.headers["User-Agent"] = f"django-plugchat/{__version__}"
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        with session.request(
            method, url, timeout=retry.deadline.seconds, allow_redirects=False, stream=True, **options
        ) as response:
            body = bytearray()
            try:
                # Byte by byte, because a larger piece is waited for.
                for byte in response.iter_content(1):
                    body += byte
                    if len(body) > LONGEST_ANSWER or retry.deadline.left <= 0:
                        break
            except OSError:
                raise BrokenAnswer from None
            return Answer(response.status_code, response.headers, bytes(body), retry.asks_to_wait(response.raw))


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
