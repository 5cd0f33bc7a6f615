"""Posts callbacks like the provider's to a running server, over real HTTP."""

import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests
from django.utils.translation import gettext as _
from requests.adapters import HTTPAdapter

from django_plugchat.provider.errors import ERRORS_BY_KIND
from django_plugchat.testing import callback_path, delivery_callback, message_status_callback

#: What the view says of a callback that it takes.
TAKEN = ("recorded", "duplicate", "ignored", "kept")
TIMEOUT = 30  # seconds

#: What delivery callbacks say of failures, by the kind that they are read as.
FAILURES = {kind: [{"error": text.replace("…", "video")} for text in texts] for kind, texts in ERRORS_BY_KIND.items()}
FAILURES["restricted"].append({"error": ERRORS_BY_KIND["restricted"][0], "errorCode": "SHADOW_BAN"})
# The provider adds texts without notice; this one is made up.
FAILURES["other"] = [{"error": "Message has not been sent because of an unexpected condition"}]

#: How many of the latest messages and callbacks may come up again.
_REMEMBERED = 1000


class _Chat(NamedTuple):
    """Messages to a contact or a group, and what will be said of all of them together."""

    phone: str
    message_ids: list[str]
    to_come: list[dict[str, Any]]


def callbacks(
    count: int, *, failures: float = 0, duplicates: float = 0, statuses: float = 0
) -> Iterator[dict[str, Any]]:
    """Callbacks of which ``duplicates`` percent repeat an earlier one. Of the others, ``statuses`` percent say what
    became of an earlier message, as far as there is one left; of the rest, ``failures`` percent failed.
    """
    chats: deque[_Chat] = deque(maxlen=_REMEMBERED)
    earlier: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
    others = connection_and_reading()
    different = deliveries = 0
    for number in range(count):
        if earlier and _is_one_of(number, duplicates):
            yield secrets.choice(earlier)
            continue
        is_status = bool(chats) and _is_one_of(different, statuses)
        different += 1
        if is_status and secrets.randbelow(8) == 0:
            yield next(others)
            continue
        if is_status:
            callback = _status(chats)
        else:
            callback = _delivery(chats, failed=_is_one_of(deliveries, failures))
            deliveries += 1
        earlier.append(callback)
        yield callback


def _is_one_of(number: int, percent: float) -> bool:
    """Whether that percentage, spread evenly, falls on this number: 10 percent is every tenth."""
    return int((number + 1) * percent / 100) > int(number * percent / 100)


def _delivery(chats: deque[_Chat], *, failed: bool) -> dict[str, Any]:
    callback = delivery_callback()
    if secrets.randbelow(3) == 0:  # most messages are sent without one
        callback["customId"] = f"order-{secrets.randbelow(10**6)}"
    if failed:
        return callback | secrets.choice(FAILURES[secrets.choice(list(FAILURES))])
    if chats and secrets.randbelow(4) == 0:
        # One more to somebody who has been written to.
        callback["phone"] = chats[-1].phone
    else:
        if secrets.randbelow(8) == 0:
            callback["phone"] = f"120363{secrets.randbelow(10**12):012}-group"
        chats.append(_Chat(callback["phone"], [], _to_come(callback["phone"])))
    chats[-1].message_ids.append(callback["messageId"])
    return callback


def _to_come(phone: str) -> list[dict[str, Any]]:
    if not phone.endswith("-group"):
        # A telephone that is off, or a contact without read receipts, ends it earlier.
        return [{"status": status} for status in ("SENT", "RECEIVED", "READ")[: secrets.choice([1, 2, 3, 3])]]
    first, second = (delivery_callback()["phone"] for _participant in range(2))
    heard = [("RECEIVED", first), ("RECEIVED", second), ("READ", first)]
    return [{"status": "SENT"}, *({"status": said, "participant": by, "participantDevice": 0} for said, by in heard)]


def _status(chats: deque[_Chat]) -> dict[str, Any]:
    chats.rotate(secrets.randbelow(len(chats)))
    phone, message_ids, to_come = chats.popleft()
    said = to_come[0]
    if to_come[1:]:
        chats.append(_Chat(phone, message_ids, to_come[1:]))
    return message_status_callback(phone=phone, ids=[*message_ids], isGroup=phone.endswith("-group"), **said)


def connection_and_reading() -> Iterator[dict[str, Any]]:
    """What else comes to the same URL: the instance is disconnected (in seconds) and connected (in milliseconds), and
    between that the account itself reads what a contact wrote.
    """
    instance, phone = delivery_callback()["instanceId"], delivery_callback()["phone"]
    while True:
        lost = {"type": "DisconnectedCallback", "disconnected": True, "error": "Device has been disconnected"}
        yield lost | {"instanceId": instance, "momment": int(time.time()) - 60}
        yield message_status_callback(status="READ_BY_ME")
        found = {"type": "ConnectedCallback", "connected": True, "phone": phone}
        yield found | {"instanceId": instance, "momment": int(time.time() * 1000)}


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


def post_all(url: str, callbacks: Iterable[dict[str, Any]], *, concurrency: int = 1) -> Iterator[str]:
    """Post them on connections that are kept; yield what ``post`` says of each, in their order.

    Ends early when the server gives no answer at all.
    """
    waiting = iter(callbacks)
    with requests.Session() as session, ThreadPoolExecutor(concurrency) as pool:
        # A proxy of the environment is for other machines.
        session.trust_env = urlsplit(url).hostname not in {"127.0.0.1", "::1", "localhost"}
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
        status = response.json()["status"]
    except (ValueError, LookupError, TypeError):
        status = None
    return status if response.ok and status in TAKEN else f"HTTP {response.status_code}"


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
