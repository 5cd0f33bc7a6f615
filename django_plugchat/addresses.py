"""The addresses in play: where PlugChat calls this site, and where its API is."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from django_plugchat.conf import Account, app_settings

MASK = "****"
#: What to run and what to write, as the messages tell it.
GENERATOR = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
URLCONF_LINE = 'path("plugchat/", include("django_plugchat.urls"))'

SECRET = re.compile(r"[A-Za-z0-9_-]{1,200}")
#: A token, and a URL before it is taken apart: urlsplit drops line breaks without a word.
PRINTABLE = re.compile(r"[!-~]+")

_HOST_NAME = re.compile(r"(?=.{1,254}\Z)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_BRACKETED = re.compile(r"\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\](?::[0-9]*)?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRIVATE_DOMAINS = (".localhost", ".local", ".internal")
#: The only block of IPv6 that is handed out; 6to4 and Teredo in it may stand for a private IPv4 address.
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_EMBEDDING_IPV6 = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))


class UnusableURLError(ValueError):
    """Its text says what to do, and quotes neither secret nor URL."""


def split_url(url: str, *, allow_loopback_http: bool = False) -> SplitResult:
    """Take apart an absolute HTTPS URL. Raises UnusableURLError."""
    if url and not PRINTABLE.fullmatch(url):
        raise UnusableURLError(_("The URL must be of printable ASCII characters, without spaces."))
    is_https = url.lower().startswith("https://")
    try:
        parts = urlsplit(url)
        is_valid = parts.port != 0 and _is_host(parts)
        is_https = is_https or (allow_loopback_http and parts.scheme == "http" and is_valid and is_loopback(parts))
    except ValueError:
        is_valid = False
    if not is_https:
        raise UnusableURLError(_("The URL must start with https://."))
    if not is_valid:
        raise UnusableURLError(_("The URL needs a valid host name after https://."))
    if "@" in parts.netloc:
        raise UnusableURLError(_("The URL must not contain a user name or a password."))
    if "#" in url:
        raise UnusableURLError(_("The URL must not contain a fragment (#)."))
    return parts


def split_base_url(url: str, *, allow_loopback_http: bool = False) -> SplitResult:
    """The same for a URL that a path is appended to."""
    parts = split_url(url, allow_loopback_http=allow_loopback_http)
    if "?" in url:
        raise UnusableURLError(_("The URL must not contain a query (?)."))
    return parts


def _host(parts: SplitResult) -> str:
    return parts.hostname or ""


def _is_host(parts: SplitResult) -> bool:
    host = _host(parts)
    if "[" in parts.netloc:
        return _BRACKETED.fullmatch(parts.netloc) is not None and _ip(host) is not None
    return _ip(host) is not None or _HOST_NAME.fullmatch(host) is not None


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host spells out, also as 127.1, 0x7f000001 or 2130706433; None for a name.

    Raises ValueError for what is neither.
    """
    if ":" in host:
        address = IPv6Address(host)
        return address.ipv4_mapped or address
    if not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return None
    try:
        return IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        raise ValueError from None


def is_loopback(parts: SplitResult) -> bool:
    host = _host(parts)
    ip = _ip(host)
    return ip.is_loopback if ip else f".{host.rstrip('.')}".endswith(".localhost")


def _is_public(host: str) -> bool:
    ip = _ip(host)
    if ip is None:
        name = host.rstrip(".")
        return "." in name and not name.endswith(_PRIVATE_DOMAINS)
    if isinstance(ip, IPv6Address):
        return ip.is_global and ip in _PUBLIC_IPV6 and not any(ip in network for network in _EMBEDDING_IPV6)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def ensure_reachable(url: str) -> None:
    """Raise UnusableURLError unless PlugChat may be able to call this URL.

    It takes only HTTPS ("Ao enviar", on-message-send). Hosts are judged as they are written, without DNS.
    """
    host = _host(split_url(url))
    if not _is_public(host):
        raise UnusableURLError(
            _(
                "PlugChat can't reach %(host)s, which is not a public address. Open a tunnel to this site "
                "(with cloudflared or ngrok, say) and give its https:// URL as the argument."
            )
            % {"host": mask_url(host)}
        )


def has_path(url: str) -> bool:
    """Whether a URL says more than where the site is."""
    parts = split_url(url)
    return parts.path not in {"", "/"} or "?" in url


def callback_url(account: Account, base: str | None = None) -> str:
    """Where PlugChat is to call for this account, under ``base`` instead of ``PUBLIC_URL`` if given.

    Raises UnusableURLError. The URL holds the account's first secret: show it as ``mask_url`` gives it.
    """
    base = app_settings.public_url if base is None else base
    if not base:
        raise UnusableURLError(
            _("Set PUBLIC_URL in PLUGCHAT to the https:// address of this site, or give a URL as the argument.")
        )
    split_base_url(base)
    if not account.webhook_secrets:
        raise UnusableURLError(
            _("The account has no secret. Make one with %(command)s and put it in its WEBHOOK_SECRETS.")
            % {"command": GENERATOR}
        )
    secret = account.webhook_secrets[0]
    if not SECRET.fullmatch(secret):
        raise UnusableURLError(_("The first secret must be at most 200 of the characters A-Z, a-z, 0-9, _ and -."))
    path = _callback_path(secret)
    if path is None:
        raise UnusableURLError(_("The callback has no URL. Add %(line)s to your URLconf.") % {"line": URLCONF_LINE})
    return base.rstrip("/") + path


def _callback_path(secret: str) -> str | None:
    # The text of NoReverseMatch quotes the secret: it goes no further than this, not even as a context.
    try:
        return reverse("plugchat:callback", args=[secret])
    except NoReverseMatch:
        return None


def mask_url(url: str) -> str:
    """The URL for people to read: without what follows ``callback/``, configured secrets and tokens, and queries."""
    if "%" in url:
        # Anything may be spelled with it.
        scheme, _slashes, rest = url.partition("//")
        url = f"{scheme}//{rest.partition('/')[0].partition('?')[0]}/{MASK}"
    url = re.sub(r"\?.*", f"?{MASK}", url, flags=re.DOTALL)
    url = re.sub(r"(callback/+)[^?]+?(/?)(?=\?|\Z)", rf"\1{MASK}\2", url, flags=re.DOTALL | re.IGNORECASE)
    for confidential in sorted(app_settings.confidential(), key=len, reverse=True):
        url = url.replace(confidential, MASK)
    return url
