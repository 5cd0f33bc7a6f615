"""What stands between the provider and the callback, as far as it can be seen from this machine."""

from urllib.parse import urlsplit

from django.utils.translation import gettext as _, gettext_noop

from django_plugchat.redaction import mask_url
from django_plugchat.registering.exchange import Answer, exchange

#: Of a type that the app ignores and stores nothing of, without a number in it.
HARMLESS = {"type": "PresenceChatCallback", "status": "UNAVAILABLE"}

#: What to do where nothing answers, by the trouble.
_ADVICE = {
    "CONNECTION": gettext_noop(
        "There is no connection to %(host)s (%(reason)s). Check the name's spelling and its record in the DNS, the web "
        "server, its port, the firewall, and REQUESTS_CA_BUNDLE here."
    ),
    "TIMEOUT": gettext_noop(
        "%(host)s gave no whole answer within %(seconds)s seconds. Try from outside: perhaps this is so only from "
        "inside a network whose machines can't call its public address. Else check the firewall and the web server."
    ),
    "PROXY": gettext_noop(
        "The proxy of this machine's environment fails (%(reason)s). The provider goes without it: add %(host)s to "
        "NO_PROXY, or try from another machine."
    ),
    "TLS": gettext_noop(
        "There is no secure connection to %(host)s (%(reason)s). Check the port, and that the certificate is a public "
        "authority's for this host, has not expired, and comes with its intermediate ones."
    ),
}


class ProbeError(Exception):
    """Its text says what stands in the way and what to do, and quotes neither secret nor URL."""


def probe(url: str, *, timeout: float, secret_is_known: bool = True) -> None:
    """Post a harmless callback to the URL. Raises ProbeError unless this app answers it.

    Without a secret that is known, it is proof enough that the app says so.
    """
    answer = exchange("POST", url, timeout=timeout, json=HARMLESS)
    values = answer._asdict() | {
        "host": mask_url(urlsplit(url).netloc),
        "seconds": timeout,
        # Its name tells a firewall from an application.
        "server": _shown(answer.headers.get("Server", "?")),
        "target": _shown(answer.headers.get("Location", "")),
    }
    if answer.trouble:
        raise ProbeError(_(_ADVICE[answer.trouble]) % values)
    if advice := _advice(answer, url, secret_is_known):
        said = _("%(host)s answered HTTP %(status)s (server: %(server)s).")
        raise ProbeError(f"{said} {advice}" % values)


def _shown(text: str) -> str:
    """What another server said, without secrets, nor what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() else "?" for letter in mask_url(text)[:200])


def _advice(answer: Answer, url: str, secret_is_known: bool) -> str:
    """What to do about an answer; "" if it is this app's."""
    status, content = answer.status, answer.json()
    if status == 200 and content == {"status": "ignored"}:
        return ""
    if 300 <= status < 400 and "Location" in answer.headers:
        if answer.headers["Location"] in (url, urlsplit(url).path):
            return _(
                "It redirects to the same address: Django takes the request for plain HTTP. Have the proxy send "
                "X-Forwarded-Proto, and set SECURE_PROXY_SSL_HEADER."
            )
        return _(
            "It redirects to %(target)s, which loses the POST. Put that address in PUBLIC_URL, if this site is there; "
            "else take the rule away that does so."
        )
    if status == 404 and isinstance(content, dict) and content.keys() == {"detail"}:
        # As Django REST framework has it, without a page.
        if not secret_is_known:
            return ""
        return _("That site does not know the secret. Deploy the WEBHOOK_SECRETS that have it, and restart.")
    if 500 <= status < 600:
        return _("The application fails, or the proxy gets no answer from it. Start it, and look at its log.")
    if status in {401, 403, 429}:
        return _(
            "A firewall, a proxy, a CDN or a password turns the request away. Let POSTs to the callback through from "
            "every address and without a challenge: the secret is the password."
        )
    if status == 400:
        return _("ALLOWED_HOSTS does not have this host there, or a proxy changes the Host header.")
    return _(
        "This app does not answer so: is it another application, a static site, a login page, a parked domain? Check "
        "DNS, the path in PUBLIC_URL, the URLconf and the proxy."
    )
