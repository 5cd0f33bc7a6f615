"""What stands between PlugChat and the callback, as far as it can be seen from this machine."""

from __future__ import annotations

import enum
import re
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from django_plugchat.redaction import mask_url, redact
from django_plugchat.registering.addresses import is_allowed_host
from django_plugchat.registering.exchange import Answer, BrokenAnswer, TooSlow, causes, exchange, reason

#: Of a type that the app ignores and stores nothing of, without a number in it.
HARMLESS = {"type": "PresenceChatCallback", "status": "UNAVAILABLE"}


class Obstacle(enum.Enum):
    NAME = enum.auto()
    REFUSED = enum.auto()
    TIMEOUT = enum.auto()
    NETWORK = enum.auto()
    PROXY = enum.auto()
    CERTIFICATE = enum.auto()
    TLS = enum.auto()
    BROKEN = enum.auto()
    HTTPS_LOOP = enum.auto()
    PLAIN_HTTP = enum.auto()
    OTHER_HOST = enum.auto()
    OTHER_PATH = enum.auto()
    ALLOWED_HOSTS = enum.auto()
    BAD_REQUEST = enum.auto()
    LOGIN = enum.auto()
    FORBIDDEN = enum.auto()
    SECRET = enum.auto()
    NOT_FOUND = enum.auto()
    METHOD = enum.auto()
    GATEWAY = enum.auto()
    SERVER = enum.auto()
    STATUS = enum.auto()
    NOT_OURS = enum.auto()


class ProbeError(Exception):
    """Its text says what stands in the way and what to do, and quotes neither secret nor URL."""

    def __init__(self, obstacle: Obstacle, text: str) -> None:
        super().__init__(text)
        self.obstacle = obstacle


@sensitive_variables()
def probe(url: str, *, timeout: float) -> None:
    """Post a harmless callback to the URL. Raises ProbeError unless this app answers it."""
    error = _error_of(url, timeout)
    if error is not None:
        # Without a cause or a context: the frames of requests hold the URL.
        raise error


@sensitive_variables()
def _error_of(url: str, timeout: float) -> ProbeError | None:
    values: dict[str, object] = {"host": mask_url(urlsplit(url).netloc), "seconds": timeout}
    try:
        answer = exchange("POST", url, timeout=timeout, json=HARMLESS)
    except (TooSlow, requests.Timeout):
        obstacle = Obstacle.TIMEOUT
    except BrokenAnswer:
        obstacle = Obstacle.BROKEN
    except (OSError, ValueError) as error:
        obstacle = _network_obstacle(error)
        values["reason"] = _reason(error)
    else:
        return _judge(answer, url, values)
    return ProbeError(obstacle, _text(obstacle) % values)


def _judge(answer: Answer, url: str, values: dict[str, object]) -> ProbeError | None:
    target = _target(answer, url)
    obstacle = _answered_obstacle(answer, url, target)
    if obstacle is None:
        return None
    values |= {"status": answer.status, "server": _server(answer.headers)}
    if target:
        values["target"] = mask_url(target.netloc if obstacle == Obstacle.OTHER_HOST else target.path)
    answered = _("%(host)s answered HTTP %(status)s (server: %(server)s).")
    return ProbeError(obstacle, f"{answered % values} {_text(obstacle) % values}")


def _target(answer: Answer, url: str) -> SplitResult | None:
    """Where a redirect goes."""
    location = answer.headers.get("Location")
    if location is None or not 300 <= answer.status < 400:
        return None
    try:
        return urlsplit(urljoin(url, location))
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    for inner in causes(error):
        if isinstance(inner, ssl.SSLCertVerificationError):
            return inner.verify_message.rstrip(".")
    return reason(error)


def _server(headers: Mapping[str, str]) -> str:
    """Who answers, as it says itself: it tells a firewall from an application."""
    name = headers.get("Server", "")
    return redact(name) if re.fullmatch(r"[A-Za-z][A-Za-z0-9 ./_()+-]{0,60}", name) else _("not named")


def _network_obstacle(error: Exception) -> Obstacle:
    inner = list(causes(error))

    def has(kind: type[BaseException]) -> bool:
        return any(isinstance(found, kind) for found in inner)

    if has(requests.exceptions.ProxyError):
        return Obstacle.PROXY
    if has(ssl.SSLCertVerificationError):
        return Obstacle.CERTIFICATE
    if has(requests.exceptions.SSLError):
        return Obstacle.TLS
    if has(socket.gaierror):
        return Obstacle.NAME
    if has(ConnectionRefusedError):
        return Obstacle.REFUSED
    return Obstacle.NETWORK


def _answered_obstacle(answer: Answer, url: str, target: SplitResult | None) -> Obstacle | None:
    status, content = answer.status, answer.json()
    if status == 200 and content == {"status": "ignored"}:
        return None
    if 200 <= status < 300:
        return Obstacle.NOT_OURS
    if target:
        return _redirect(urlsplit(url), target)
    if status == 400:
        return Obstacle.BAD_REQUEST if is_allowed_host(url) else Obstacle.ALLOWED_HOSTS
    if status == 404:
        # As Django REST framework has it, without a page.
        return Obstacle.SECRET if isinstance(content, dict) and content.keys() == {"detail"} else Obstacle.NOT_FOUND
    # The last are Cloudflare's.
    if status in {502, 503, 504, *range(520, 531)}:
        return Obstacle.GATEWAY
    if 500 <= status < 600:
        return Obstacle.SERVER
    return {401: Obstacle.LOGIN, 403: Obstacle.FORBIDDEN, 405: Obstacle.METHOD}.get(status, Obstacle.STATUS)


def _redirect(asked: SplitResult, target: SplitResult) -> Obstacle:
    if target.hostname != asked.hostname:
        return Obstacle.OTHER_HOST
    if target.scheme != asked.scheme:
        return Obstacle.PLAIN_HTTP
    if target.netloc != asked.netloc:
        return Obstacle.OTHER_HOST
    return Obstacle.HTTPS_LOOP if target == asked else Obstacle.OTHER_PATH


def _text(obstacle: Obstacle) -> str:
    """What is in the way, and what to do."""
    return {
        Obstacle.NAME: _(
            "The name %(host)s is not found (%(reason)s). Check its spelling and that DNS has a record of it. A new "
            "record takes a while to be seen everywhere."
        ),
        Obstacle.REFUSED: _(
            "%(host)s refuses the connection: nothing listens on that port, or a firewall turns it away. Start the web "
            "server, and check the port."
        ),
        Obstacle.TIMEOUT: _(
            "%(host)s did not answer within %(seconds)s seconds. Perhaps this is so only from inside: many networks do "
            "not let a machine call its own public address. Try from outside, with a phone that is not in this "
            "network. If it hangs there too, check the firewall and the web server."
        ),
        Obstacle.NETWORK: _(
            "The request to %(host)s could not be made (%(reason)s). Check the web server and the firewall there, and "
            "the network and REQUESTS_CA_BUNDLE here."
        ),
        Obstacle.PROXY: _(
            "The proxy in this machine's environment does not let the request through (%(reason)s). PlugChat does not "
            "go that way: add %(host)s to NO_PROXY, or try from another machine."
        ),
        Obstacle.CERTIFICATE: _(
            "The certificate of %(host)s is not valid (%(reason)s). Install one from a public authority that names "
            "this host and has not expired, together with its intermediate certificates."
        ),
        Obstacle.TLS: _(
            "There is no HTTPS at %(host)s (%(reason)s). Check the port, and that TLS is switched on there."
        ),
        Obstacle.BROKEN: _("The answer of %(host)s broke off. Look at the logs of its web server and of its proxy."),
        Obstacle.HTTPS_LOOP: _(
            "It redirects to the very same address: Django takes the request for plain HTTP. Have the proxy send "
            "X-Forwarded-Proto, and set SECURE_PROXY_SSL_HEADER."
        ),
        Obstacle.PLAIN_HTTP: _(
            "It redirects to plain HTTP, and a redirect loses the POST. Find the rule in the proxy or the CDN that "
            "does so, and take it away."
        ),
        Obstacle.OTHER_HOST: _(
            "It redirects to another host, %(target)s, and a redirect loses the POST. If this site is there, put that "
            "host in PUBLIC_URL."
        ),
        Obstacle.OTHER_PATH: _(
            "It redirects to another path, %(target)s, and a redirect loses the POST. Exempt the callback from the "
            "middleware or the rule of the proxy that does so."
        ),
        Obstacle.ALLOWED_HOSTS: _("ALLOWED_HOSTS does not have this host. Add it, and restart the web server."),
        Obstacle.BAD_REQUEST: _(
            "ALLOWED_HOSTS has this host here. Restart the web server, if its settings are older, and check that the "
            "proxy passes the Host header on unchanged."
        ),
        Obstacle.LOGIN: _(
            "Something asks for a password. Let requests to the callback through without one: its secret is the "
            "password."
        ),
        Obstacle.FORBIDDEN: _(
            "A firewall, proxy or CDN turns the request away. Let POSTs to the callback through from every address "
            "and without a challenge: PlugChat does not say where it calls from."
        ),
        Obstacle.SECRET: _(
            "That site does not know the secret. Deploy the settings that have it in WEBHOOK_SECRETS there, and "
            "restart the web server."
        ),
        Obstacle.NOT_FOUND: _(
            "Another application answers there, or this one has its URLs elsewhere. Check the path in PUBLIC_URL, the "
            "URLconf, and where the proxy sends the request."
        ),
        Obstacle.METHOD: _(
            "What answers there takes no POST: a static site or another application. Check the path in PUBLIC_URL, "
            "and where the proxy sends the request."
        ),
        Obstacle.GATEWAY: _(
            "The proxy gets no answer from the application. Start it, and check where the proxy looks for it."
        ),
        Obstacle.SERVER: _("The application fails before it reads the callback. Look at its log."),
        Obstacle.STATUS: _(
            "This app does not answer so: something before it does. Look at the rules of the proxy, the CDN and the "
            "middleware."
        ),
        Obstacle.NOT_OURS: _(
            "This app does not answer so: it may be a parked domain, a login page or another application. Check DNS, "
            "the path in PUBLIC_URL, and where the proxy sends the request."
        ),
    }[obstacle]
