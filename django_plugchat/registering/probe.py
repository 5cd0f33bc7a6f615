"""What stands between the provider and the callback, as far as it can be seen from this machine."""

import enum
import re
import socket
import ssl
from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

import requests
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django.views.decorators.debug import sensitive_variables

from django_plugchat.redaction import mask_url, redact
from django_plugchat.registering.exchange import Answer, NoWholeAnswer, causes, exchange, reason

#: Of a type that the app ignores and stores nothing of, without a number in it.
HARMLESS = {"type": "PresenceChatCallback", "status": "UNAVAILABLE"}
_LONGEST_SHOWN = 200


class Obstacle(enum.Enum):
    """Each by its advice."""

    NAME = gettext_noop(
        "The name %(host)s is not found (%(reason)s). Check its spelling and that DNS has a record of it. A new "
        "record takes a while to be seen everywhere."
    )
    CONNECTION = gettext_noop(
        "There is no connection to %(host)s (%(reason)s). Start the web server, and check the port, the firewall, "
        "and REQUESTS_CA_BUNDLE here."
    )
    TIMEOUT = gettext_noop(
        "%(host)s gave no whole answer within %(seconds)s seconds. Perhaps this is so only from inside: many "
        "networks do not let a machine call its own public address. Try from outside, with a phone that is not in "
        "this network. If it hangs there too, check the firewall and the web server."
    )
    PROXY = gettext_noop(
        "The proxy in this machine's environment does not let the request through (%(reason)s). The provider does "
        "not go that way: add %(host)s to NO_PROXY, or try from another machine."
    )
    TLS = gettext_noop(
        "There is no secure connection to %(host)s (%(reason)s). Check the port, and install a certificate from a "
        "public authority that names this host and has not expired, together with its intermediate certificates."
    )
    HTTPS_LOOP = gettext_noop(
        "It redirects to the very same address: Django takes the request for plain HTTP. Have the proxy send "
        "X-Forwarded-Proto, and set SECURE_PROXY_SSL_HEADER."
    )
    REDIRECT = gettext_noop(
        "It redirects to %(target)s, and a redirect loses the POST. If this site is there, put that address in "
        "PUBLIC_URL; else take away the rule of the proxy, the CDN or the middleware that does so."
    )
    BAD_REQUEST = gettext_noop(
        "ALLOWED_HOSTS does not have this host there, or a proxy changes the Host header. Add the host, and "
        "restart the web server."
    )
    TURNED_AWAY = gettext_noop(
        "A firewall, a proxy, a CDN or a password turns the request away. Let POSTs to the callback through from "
        "every address and without a challenge: the provider does not say where it calls from, and the secret is "
        "the password."
    )
    SECRET = gettext_noop(
        "That site does not know the secret. Deploy the settings that have it in WEBHOOK_SECRETS there, and "
        "restart the web server."
    )
    BROKEN = gettext_noop(
        "The application fails, or the proxy gets no answer from it. Start it, look at its log, and check where "
        "the proxy looks for it."
    )
    NOT_OURS = gettext_noop(
        "This app does not answer so: it may be another application, a static site, a login page or a parked "
        "domain. Check DNS, the path in PUBLIC_URL, the URLconf, and where the proxy sends the request."
    )


class ProbeError(Exception):
    """Its text says what stands in the way and what to do, and quotes neither secret nor URL."""

    def __init__(self, obstacle: Obstacle, text: str) -> None:
        super().__init__(text)
        self.obstacle = obstacle


@sensitive_variables()
def probe(url: str, *, timeout: float, secret_is_known: bool = True) -> None:
    """Post a harmless callback to the URL. Raises ProbeError unless this app answers it.

    Without a secret that is known, it is proof enough that the app says so.
    """
    obstacle, values = _look(url, timeout)
    if obstacle is None or (obstacle is Obstacle.SECRET and not secret_is_known):
        return
    text = _(obstacle.value)
    if "status" in values:
        text = _("%(host)s answered HTTP %(status)s (server: %(server)s).") + " " + text
    # Outside of any except: the frames of requests hold the URL.
    raise ProbeError(obstacle, text % values)


@sensitive_variables()
def _look(url: str, timeout: float) -> tuple[Obstacle | None, dict[str, object]]:
    """What stands in the way, if anything, and what its advice names."""
    values: dict[str, object] = {"host": mask_url(urlsplit(url).netloc), "seconds": timeout}
    try:
        answer = exchange("POST", url, timeout=timeout, json=HARMLESS)
    except (NoWholeAnswer, requests.Timeout):
        return Obstacle.TIMEOUT, values
    except (OSError, ValueError) as error:
        chain = list(causes(error))
        certificate = next((inner for inner in chain if isinstance(inner, ssl.SSLCertVerificationError)), None)
        values["reason"] = certificate.verify_message.rstrip(".") if certificate else reason(error)
        return _network_obstacle(chain), values
    target = _target(answer, url)
    values |= {"status": answer.status, "server": _server(answer), "target": _printable(mask_url(target))}
    return _answered_obstacle(answer, url, target), values


def _target(answer: Answer, url: str) -> str:
    """Where a redirect goes; "" for what is none."""
    location = answer.headers.get("Location", "") if 300 <= answer.status < 400 else ""
    try:
        return urljoin(url, location) if location else ""
    except ValueError:
        return ""


def _printable(text: str) -> str:
    """What another server said, without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_SHOWN])


def _server(answer: Answer) -> str:
    """Who answers, as it says itself: it tells a firewall from an application."""
    name = answer.headers.get("Server", "")
    return redact(name) if re.fullmatch(r"[A-Za-z][A-Za-z0-9 ./_()+-]{0,60}", name) else _("not named")


def _network_obstacle(chain: Iterable[BaseException]) -> Obstacle:
    kinds = {
        requests.exceptions.ProxyError: Obstacle.PROXY,
        requests.exceptions.SSLError: Obstacle.TLS,
        socket.gaierror: Obstacle.NAME,
    }
    found = (kinds[kind] for kind in kinds if any(isinstance(error, kind) for error in chain))
    return next(found, Obstacle.CONNECTION)


def _answered_obstacle(answer: Answer, url: str, target: str) -> Obstacle | None:
    status, content = answer.status, answer.json()
    if status == 200 and content == {"status": "ignored"}:
        return None
    if target:
        return Obstacle.HTTPS_LOOP if target == url else Obstacle.REDIRECT
    if status == 404 and isinstance(content, dict) and content.keys() == {"detail"}:
        # As Django REST framework has it, without a page.
        return Obstacle.SECRET
    if 500 <= status < 600:
        return Obstacle.BROKEN
    if status in {401, 403, 429}:
        return Obstacle.TURNED_AWAY
    return Obstacle.BAD_REQUEST if status == 400 else Obstacle.NOT_OURS
