"""Posts callbacks like the provider's to a running server, over real HTTP."""

import itertools
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from django.utils.translation import gettext as _
from requests.adapters import HTTPAdapter

from django_plugchat.provider.errors import ERRORS_BY_KIND
from django_plugchat.registering.addresses import LOOPBACK
from django_plugchat.registering.probe import ProbeError, probe
from django_plugchat.testing import callback_path, delivery_callback, message_status_callback

Callback = dict[str, Any]

#: What the view says of a callback that it takes.
TAKEN = ("recorded", "duplicate", "ignored", "kept")
TIMEOUT = 30  # seconds

#: What delivery callbacks say of failures, by the kind that they are read as.
FAILURES = {kind: [{"error": text.replace("…", "video")} for text in texts] for kind, texts in ERRORS_BY_KIND.items()}
FAILURES["restricted"].append({"error": ERRORS_BY_KIND["restricted"][0], "errorCode": "SHADOW_BAN"})
# The provider adds texts without notice; this one is made up.
FAILURES["other"] = [{"error": "Message has not been sent because of an unexpected condition"}]

#: How many of the latest callbacks may be repeated, and how many statuses wait to be said.
_REMEMBERED = 1000


def callbacks(count: int, *, failures: float = 0, duplicates: float = 0, statuses: float = 0) -> Iterator[Callback]:
    """Callbacks of which ``duplicates`` percent repeat an earlier one. Of the others, ``statuses`` percent say what
    became of an earlier message or of the connection, as far as there is something left to say; of the rest,
    ``failures`` percent failed.
    """
    earlier: deque[Callback] = deque(maxlen=_REMEMBERED)
    to_come = deque(connection_and_reading(), maxlen=_REMEMBERED)
    is_repeated, is_status, is_failure = map(_spread, (duplicates, statuses, failures))
    for _number in range(count):
        if next(is_repeated) and earlier:
            callback = secrets.choice(earlier)
        elif next(is_status) and to_come:
            # In no order, as the provider's come.
            callback = secrets.choice(to_come)
            to_come.remove(callback)
        else:
            callback = delivery_callback()
            if next(is_failure):
                callback |= secrets.choice(FAILURES[secrets.choice(list(FAILURES))])
            else:
                to_come += _statuses_of(callback)
        earlier.append(callback)
        yield callback


def _spread(percent: float) -> Iterator[bool]:
    """A yes for that percentage of the times, spread evenly: 10 percent is every tenth."""
    return (int((number + 1) * percent / 100) > int(number * percent / 100) for number in itertools.count())


def _statuses_of(delivery: Callback) -> list[Callback]:
    """What is still to be said of a message. A telephone that is off, or a contact without read receipts, ends it."""
    heard = ("SENT", "RECEIVED", "READ")[: secrets.choice([1, 2, 3, 3])]
    about = {"phone": delivery["phone"], "ids": [delivery["messageId"]]}
    return [message_status_callback(**about, status=status) for status in heard]


def connection_and_reading() -> list[Callback]:
    """The number's telephone goes and comes back, and reads what a contact wrote."""
    instance, now = {"instanceId": delivery_callback()["instanceId"]}, int(time.time())
    return [
        instance | {"type": "DisconnectedCallback", "disconnected": True, "momment": now - 60},  # in seconds
        message_status_callback(status="READ_BY_ME"),
        instance | {"type": "ConnectedCallback", "connected": True, "momment": now * 1000},
    ]


def target(url: str, account: str) -> str:
    """Where to post: a URL without a path gets the account's callback path. Raises ValueError, ImproperlyConfigured."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(_("The URL must begin with http:// or https:// and a host."))
    return url if parts.path.strip("/") else urlunsplit(parts._replace(path=callback_path(account)))


def post_all(url: str, callbacks: Iterable[Callback], *, concurrency: int = 1) -> Iterator[str]:
    """Post them on connections that are kept; yield what ``post`` says of each, in order, until nothing answers."""
    waiting = iter(callbacks)
    with requests.Session() as session, ThreadPoolExecutor(concurrency) as pool:
        # A proxy of the environment is for other machines.
        session.trust_env = not LOOPBACK.fullmatch(urlsplit(url).hostname or "")
        session.mount(f"{urlsplit(url).scheme}://", HTTPAdapter(pool_maxsize=concurrency))
        try:
            while some := list(itertools.islice(waiting, 10 * concurrency)):
                yield from pool.map(partial(post, session, url), some)
        except requests.RequestException as error:
            # The class alone: the text quotes the URL.
            yield type(error).__name__


def post(session: requests.Session, url: str, callback: Callback) -> str:
    """The ``status`` that the view answers, else the HTTP status. Raises ``requests.RequestException``."""
    response = session.post(url, json=callback, timeout=TIMEOUT, allow_redirects=False)
    try:
        status = response.json()["status"]
    except (ValueError, LookupError, TypeError):
        status = None
    return status if response.ok and status in TAKEN else f"HTTP {response.status_code}"


def advice(answer: str, url: str) -> str:
    """What to do about an answer that is none of ``TAKEN``, by what a harmless callback meets there."""
    try:
        probe(url, timeout=TIMEOUT)
    except ProbeError as error:
        return f"{answer}: {error}"
    return f"{answer}: {_('The server failed: its log says why.')}"
