"""Posts callbacks like the provider's to a running server, over real HTTP."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from django.utils.translation import gettext as _

from django_plugchat.testing import callback_path, delivery_callback

FAILURES = (
    {"error": "Phone number does not exist"},
    {"error": "Timeout on send message"},
    {"error": "Whatsapp did not allow sending this message", "errorCode": "SHADOW_BAN"},
)
RECORDED, DUPLICATE = "recorded", "duplicate"
TIMEOUT = 30  # seconds

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_REPEATABLE = 1000


def target(url: str, account: str) -> str:
    """Where to post: a URL without a path gets the account's callback path.

    Raises ValueError, which doesn't quote the URL, or ImproperlyConfigured.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(_("The URL must begin with http:// or https:// and a host."))
    return url if parts.path.strip("/") else urlunsplit(parts._replace(path=callback_path(account)))


def origin(url: str) -> str:
    """A URL for people: without its path, which holds the secret, and without a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def callbacks(count: int, *, failures: float = 0, duplicates: float = 0) -> Iterator[dict[str, Any]]:
    """Callbacks of which ``duplicates`` percent repeat an earlier one; of the others ``failures`` percent failed."""
    earlier: deque[dict[str, Any]] = deque(maxlen=_REPEATABLE)
    different = 0
    for number in range(count):
        if earlier and _is_one_of(number, duplicates):
            yield secrets.choice(earlier)
            continue
        callback = delivery_callback()
        if secrets.randbelow(3) == 0:  # most messages are sent without one
            callback["customId"] = f"order-{secrets.randbelow(10**6)}"
        if _is_one_of(different, failures):
            callback |= secrets.choice(FAILURES)
        different += 1
        earlier.append(callback)
        yield callback


def _is_one_of(number: int, percent: float) -> bool:
    """Whether that percentage, spread evenly, falls on this number: 10 percent is every tenth."""
    return int((number + 1) * percent / 100) > int(number * percent / 100)


def post_all(url: str, callbacks: Iterable[dict[str, Any]], *, concurrency: int = 1) -> Iterator[str]:
    """Post them, each worker on a connection that it keeps; yield what ``post`` says of each as it is answered.

    Ends early when the server gives no answer at all.
    """
    waiting, lock, stop = iter(callbacks), threading.Lock(), threading.Event()
    answers: SimpleQueue[str | None] = SimpleQueue()

    def work() -> None:
        try:
            with requests.Session() as session:
                # A proxy of the environment is for other machines.
                session.trust_env = urlsplit(url).hostname not in _LOOPBACK
                while not stop.is_set():
                    with lock:
                        callback = next(waiting, None)
                    if callback is None:
                        break
                    answer, answered = post(session, url, callback)
                    answers.put(answer)
                    if not answered:
                        stop.set()
        finally:
            answers.put(None)

    with ThreadPoolExecutor(concurrency) as pool:
        workers = [pool.submit(work) for _number in range(concurrency)]
        try:
            for _worker in workers:
                yield from iter(answers.get, None)
        finally:
            stop.set()
        for worker in workers:
            worker.result()


def post(session: requests.Session, url: str, callback: dict[str, Any]) -> tuple[str, bool]:
    """Post one: the ``status`` that the app answered, else the HTTP status, else the error; and if it was answered."""
    try:
        response = session.post(url, json=callback, timeout=TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        # The class alone: the text quotes the URL.
        return type(error).__name__, False
    if response.status_code == requests.codes.ok and (status := _status(response)):
        return status, True
    return f"HTTP {response.status_code}", True


def _status(response: requests.Response) -> str:
    try:
        status = response.json()["status"]
    except (ValueError, LookupError, TypeError):
        return ""
    return status if status in (RECORDED, DUPLICATE) else ""


def advice(answer: str) -> str:
    """What to do about an answer that is neither ``recorded`` nor ``duplicate``."""
    if answer.endswith("Timeout"):
        return _("The server did not answer in time. Is it busy, or its database locked?")
    if answer == "SSLError":
        return _("No trusted HTTPS connection. Is it http:// there, or the certificate not a public one?")
    if answer == "HTTP 404":
        return _(
            "The server does not know the secret. Does it run with the same PLUGCHAT setting, and with the app's URLs?"
        )
    if answer == "HTTP 400":
        return _("The server refuses the request. Is the URL's host in its ALLOWED_HOSTS?")
    if answer == "HTTP 503":
        return _("The server's database failed: its log says why.")
    if answer.startswith("HTTP 3"):
        return _("The server redirects. Give the URL that it redirects to, with https:// if that is missing.")
    if answer.startswith("HTTP 5"):
        return _("The server failed: its log says why.")
    if answer.startswith("HTTP "):
        return _("Something other than django_plugchat's callback view answers at this URL.")
    return _("Nothing answers there. Is the server running, and the URL right?")
