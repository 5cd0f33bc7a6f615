"""Posts callbacks like the provider's to a running server, over real HTTP."""

import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from django.utils.translation import gettext as _
from requests.adapters import HTTPAdapter

from django_plugchat.provider.callbacks import CONNECTION_CALLBACKS, INCOMING_STATUSES
from django_plugchat.provider.errors import ERROR_CODES, ERRORS_BY_KIND, Failure
from django_plugchat.testing import callback_path, delivery_callback, message_status_callback

#: What the view says of a callback that it takes.
TAKEN = ("recorded", "duplicate", "ignored", "kept")
TIMEOUT = 30  # seconds

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_REMEMBERED = 1000


def _failures() -> dict[str, list[dict[str, str]]]:
    by_kind = {
        kind: [{"error": text.replace("…", "video")} for text in texts] for kind, texts in ERRORS_BY_KIND.items()
    }
    for code, kind in ERROR_CODES.items():
        by_kind[kind].append({"error": ERRORS_BY_KIND[kind][0], "errorCode": code})
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
    account = _Account(deque(maxlen=_REMEMBERED))
    earlier: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
    different = deliveries = 0
    for number in range(count):
        if earlier and _is_one_of(number, duplicates):
            yield secrets.choice(earlier)
            continue
        is_status = _is_one_of(different, statuses)
        different += 1
        if is_status and account.chats:
            callback = account.status()
        else:
            callback = account.delivery(failed=_is_one_of(deliveries, failures))
            deliveries += 1
        if callback["type"] not in CONNECTION_CALLBACKS and callback.get("status") not in INCOMING_STATUSES:
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


@dataclass
class _Account:
    chats: deque[_Chat]
    #: What is to come next of all.
    due: deque[dict[str, Any]] = field(default_factory=deque)

    def delivery(self, *, failed: bool) -> dict[str, Any]:
        callback = delivery_callback()
        if secrets.randbelow(3) == 0:  # most messages are sent without one
            callback["customId"] = f"order-{secrets.randbelow(10**6)}"
        if failed:
            return callback | secrets.choice(FAILURES[secrets.choice(list(FAILURES))])
        if self.chats and secrets.randbelow(4) == 0:
            # One more to somebody who has been written to.
            self.chats[-1].message_ids.append(callback["messageId"])
            return callback | {"phone": self.chats[-1].phone}
        if secrets.randbelow(8) == 0:
            callback["phone"] = f"120363{secrets.randbelow(10**12):012}-group"
        self.chats.append(_Chat(callback["phone"], [callback["messageId"]], _statuses_to_come(callback["phone"])))
        return callback

    def status(self) -> dict[str, Any]:
        """What became of a message; now and then something else that comes to the same URL."""
        if self.due:
            return self.due.popleft()
        chance = secrets.randbelow(30)
        if chance == 0:
            disconnected, connected = connection_lost_and_found()
            self.due.append(connected)
            return disconnected
        if chance <= 3:
            # The account itself has read what a contact wrote.
            return message_status_callback(status="READ_BY_ME")
        self.chats.rotate(secrets.randbelow(len(self.chats)))
        chat = self.chats.popleft()
        status, participant = chat.to_come.popleft()
        if chat.to_come:
            self.chats.append(chat)
        callback = message_status_callback(
            status=status, ids=list(chat.message_ids), phone=chat.phone, isGroup=chat.phone.endswith("-group")
        )
        return callback | {"participant": participant, "participantDevice": 0} if participant else callback


def connection_lost_and_found() -> tuple[dict[str, Any], dict[str, Any]]:
    """The instance is disconnected a minute ago, and connected now: in seconds the one, in milliseconds the other."""
    now = time.time()
    instance = delivery_callback()["instanceId"]
    lost = {"type": "DisconnectedCallback", "disconnected": True, "error": "Device has been disconnected"}
    found = {"type": "ConnectedCallback", "connected": True, "phone": delivery_callback()["phone"]}
    return (
        lost | {"instanceId": instance, "momment": int(now) - 60},
        found | {"instanceId": instance, "momment": int(now * 1000)},
    )


def _statuses_to_come(phone: str) -> deque[tuple[str, str]]:
    if phone.endswith("-group"):
        first, second = (delivery_callback()["phone"] for _participant in range(2))
        return deque([("SENT", ""), ("RECEIVED", first), ("RECEIVED", second), ("READ", first)])
    statuses = ["SENT", "RECEIVED", "READ"]
    # A telephone that is off, or a contact without read receipts, ends it earlier.
    return deque((status, "") for status in statuses[: secrets.choice([1, 2, 3, 3])])


def post_all(url: str, callbacks: Iterable[dict[str, Any]], *, concurrency: int = 1) -> Iterator[str]:
    """Post them on connections that are kept; yield what ``post`` says of each, in their order.

    Ends early when the server gives no answer at all.
    """
    waiting = iter(callbacks)
    with requests.Session() as session, ThreadPoolExecutor(concurrency) as pool:
        # A proxy of the environment is for other machines.
        session.trust_env = urlsplit(url).hostname not in _LOOPBACK
        session.mount("http", HTTPAdapter(pool_maxsize=concurrency))
        try:
            while some := list(islice(waiting, 10 * concurrency)):
                yield from pool.map(partial(post, session, url), some)
        except requests.RequestException as error:
            # The class alone: the text quotes the URL.
            yield type(error).__name__


def post(session: requests.Session, url: str, callback: dict[str, Any]) -> str:
    """Post one, and return the ``status`` that the view answered, else the HTTP status.

    Raises ``requests.RequestException`` where nothing answers.
    """
    response = session.post(url, json=callback, timeout=TIMEOUT, allow_redirects=False)
    try:
        status = response.json()["status"] if response.ok else None
    except (ValueError, LookupError, TypeError):
        status = None
    return status if isinstance(status, str) and status in TAKEN else f"HTTP {response.status_code}"


def advice(answer: str) -> str:
    """What to do about an answer that is none of ``TAKEN``."""
    for beginning, text in (
        ("ReadTimeout", _("The server did not answer in time. Is it busy, or its database locked?")),
        ("SSLError", _("No trusted HTTPS connection. Is it http:// there, or the certificate not a public one?")),
        ("HTTP 404", _("The server does not know the secret. Does it run with the same settings and the app's URLs?")),
        ("HTTP 400", _("The server refuses the request. Is the URL's host in its ALLOWED_HOSTS?")),
        ("HTTP 3", _("The server redirects. Give the URL that it redirects to, with https:// if that is missing.")),
        ("HTTP 5", _("The server failed: its log says why.")),
        ("HTTP ", _("Something other than django_plugchat's callback view answers at this URL.")),
    ):
        if answer.startswith(beginning):
            return text
    return _("Nothing answers there. Is the server running, and the URL right?")
