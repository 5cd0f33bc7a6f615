"""Posts callbacks like the provider's to a running server, over real HTTP."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from django.utils.translation import gettext as _

from django_plugchat.provider.callbacks import INCOMING_STATUSES
from django_plugchat.provider.errors import ERROR_BEGINNINGS, ERROR_CODES, ERRORS_BY_KIND, Failure
from django_plugchat.testing import callback_path, delivery_callback, message_status_callback

#: What the view says of a callback that it takes.
TAKEN = RECORDED, DUPLICATE, IGNORED, KEPT = "recorded", "duplicate", "ignored", "kept"
TIMEOUT = 30  # seconds

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_REMEMBERED = 1000


def _failures() -> dict[str, list[dict[str, str]]]:
    by_kind = {kind: [{"error": text} for text in texts] for kind, texts in ERRORS_BY_KIND.items()}
    for code, kind in ERROR_CODES.items():
        by_kind[kind].append({"error": ERRORS_BY_KIND[kind][0], "errorCode": code})
    for beginning, kind in ERROR_BEGINNINGS.items():
        by_kind[kind].append({"error": f"{beginning}image/bmp"})
    # The provider adds texts without notice; this one is made up.
    by_kind[Failure.OTHER.value] = [{"error": "Message has not been sent because of an unexpected condition"}]
    return by_kind


#: What delivery callbacks say of failures, by the kind that they are read as.
FAILURES = _failures()


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


def callbacks(
    count: int, *, failures: float = 0, duplicates: float = 0, statuses: float = 0
) -> Iterator[dict[str, Any]]:
    """Callbacks of which ``duplicates`` percent repeat an earlier one. Of the others, ``statuses`` percent say what
    became of an earlier message, as far as there is one left; of the rest, ``failures`` percent failed.
    """
    earlier: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
    chats: deque[_Chat] = deque(maxlen=_REMEMBERED)
    different = deliveries = 0
    for number in range(count):
        if earlier and _is_one_of(number, duplicates):
            yield secrets.choice(earlier)
            continue
        is_status = _is_one_of(different, statuses)
        different += 1
        if is_status and chats:
            callback = _next_status(chats)
        else:
            callback = _delivery(chats, failed=_is_one_of(deliveries, failures))
            deliveries += 1
        if callback.get("status") not in INCOMING_STATUSES:
            earlier.append(callback)
        yield callback


def _is_one_of(number: int, percent: float) -> bool:
    """Whether that percentage, spread evenly, falls on this number: 10 percent is every tenth."""
    return int((number + 1) * percent / 100) > int(number * percent / 100)


@dataclass
class _Chat:
    """One or several messages to a contact or a group, and what will be said of all of them together."""

    phone: str
    message_ids: list[str]
    #: Each status, and in a group the participant whose it is.
    to_come: deque[tuple[str, str]]


def _delivery(chats: deque[_Chat], *, failed: bool) -> dict[str, Any]:
    callback = delivery_callback()
    if secrets.randbelow(3) == 0:  # most messages are sent without one
        callback["customId"] = f"order-{secrets.randbelow(10**6)}"
    if failed:
        return callback | secrets.choice(FAILURES[secrets.choice(list(FAILURES))])
    if chats and secrets.randbelow(4) == 0:
        # One more to somebody who has been written to.
        chat = chats[-1]
        chat.message_ids.append(callback["messageId"])
        return callback | {"phone": chat.phone}
    if secrets.randbelow(8) == 0:
        callback["phone"] = f"120363{secrets.randbelow(10**12):012}-group"
    chats.append(_Chat(callback["phone"], [callback["messageId"]], _statuses_to_come(callback["phone"])))
    return callback


def _statuses_to_come(phone: str) -> deque[tuple[str, str]]:
    if phone.endswith("-group"):
        first, second = (delivery_callback()["phone"] for _participant in range(2))
        return deque([("SENT", ""), ("RECEIVED", first), ("RECEIVED", second), ("READ", first)])
    statuses = ["SENT", "RECEIVED", "READ"]
    # A telephone that is off, or a contact without read receipts, ends it earlier.
    return deque((status, "") for status in statuses[: secrets.choice([1, 2, 3, 3])])


def _next_status(chats: deque[_Chat]) -> dict[str, Any]:
    if secrets.randbelow(10) == 0:
        # The account itself has read what a contact wrote. It comes to the same URL, and is ignored.
        return message_status_callback(status="READ_BY_ME")
    chats.rotate(secrets.randbelow(len(chats)))
    chat = chats.popleft()
    status, participant = chat.to_come.popleft()
    if chat.to_come:
        chats.append(chat)
    callback = message_status_callback(
        status=status, ids=list(chat.message_ids), phone=chat.phone, isGroup=chat.phone.endswith("-group")
    )
    return callback | {"participant": participant, "participantDevice": 0} if participant else callback


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
                    try:
                        answers.put(post(session, url, callback))
                    except requests.RequestException as error:
                        # The class alone: the text quotes the URL.
                        answers.put(type(error).__name__)
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


def post(session: requests.Session, url: str, callback: dict[str, Any]) -> str:
    """Post one, and return the ``status`` that the view answered, else the HTTP status.

    Raises ``requests.RequestException`` where nothing answers.
    """
    response = session.post(url, json=callback, timeout=TIMEOUT, allow_redirects=False)
    if response.status_code == requests.codes.ok:
        try:
            status = response.json()["status"]
        except (ValueError, LookupError, TypeError):
            status = None
        if isinstance(status, str) and status in TAKEN:
            return status
    return f"HTTP {response.status_code}"


def advice(answer: str) -> str:
    """What to do about an answer that is none of ``TAKEN``."""
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
