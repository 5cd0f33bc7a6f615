"""The addresses in play: where the provider calls this site, and where its API is."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import DisallowedHost, ValidationError
from django.core.validators import URLValidator
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from django_plugchat.conf import app_settings
from django_plugchat.redaction import mask_url

#: What to run and what to write, as the messages tell it.
GENERATOR = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
URLCONF_LINE = 'path("plugchat/", include("django_plugchat.urls"))'
SECRET = re.compile(r"[A-Za-z0-9_-]{1,200}")
#: A token, and a URL before it is taken apart: Django's validator takes letters beyond ASCII, and urlsplit drops line
#: breaks without a word.
PRINTABLE = re.compile(r"[!-~]+")

#: This machine's names, for which plain HTTP will do.
LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1")
_PRIVATE_DOMAINS = (".localhost", ".local", ".internal")
#: Names for documentation and tests (RFC 2606 and 6761). Whoever has them gets the secret.
_NOBODYS_DOMAINS = (".example.com", ".example.net", ".example.org", ".example", ".test", ".invalid")


class UnusableURLError(ValueError):
    """Its text says what to do, and quotes neither secret nor URL."""


def split_url(url: str, *, is_base: bool = False, allow_loopback_http: bool = False) -> SplitResult:
    """Take apart an absolute HTTPS URL; a base is one that a path is appended to. Raises UnusableURLError."""
    try:
        URLValidator(["https", "http"])(url)
        parts = urlsplit(url)
        # The validator looks neither at a port's size nor at what comes before an @.
        is_valid = parts.port != 0
    except (ValidationError, ValueError):
        parts, is_valid = urlsplit(""), False
    is_local = allow_loopback_http and parts.scheme == "http" and LOOPBACK.fullmatch(parts.hostname or "")
    is_https = url.lower().startswith("https://")
    for is_wrong, text in (
        (url and not PRINTABLE.fullmatch(url), _("The URL must be of printable ASCII characters, without spaces.")),
        (not is_https and not is_local, _("The URL must start with https://.")),
        (not is_valid, _("The URL needs a valid host after https://: a whole name, or an IP address.")),
        ("@" in parts.netloc or "#" in url, _("The URL must not contain a user name, a password or a fragment (#).")),
        (is_base and "?" in url, _("The URL must not contain a query (?).")),
    ):
        if is_wrong:
            raise UnusableURLError(text)
    return parts


def _host_of(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")


def is_nobodys(url: str) -> bool:
    """Whether the host is a name that examples and tests use."""
    return f".{_host_of(urlsplit(url))}".endswith(_NOBODYS_DOMAINS)


def ensure_reachable(url: str) -> None:
    """Raise UnusableURLError if the provider can't call this URL, by its host as it is written, without DNS."""
    host = _host_of(split_url(url))
    try:
        ip = ip_address(host)
        is_public = ip.is_global and not ip.is_multicast
    except ValueError:
        is_public = "." in host and not host.endswith(_PRIVATE_DOMAINS)
    if is_nobodys(url) or not is_public:
        text = _("The provider can't reach %(host)s: it is not public. Give the URL of this site or of a tunnel to it.")
        raise UnusableURLError(text % {"host": mask_url(host)})


def is_allowed_host(url: str) -> bool:
    """Whether Django answers requests to the host of this URL."""
    request = HttpRequest()
    request.META["HTTP_HOST"] = urlsplit(url).netloc
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


def url_with(secret: str, url: str | None = None) -> str:
    """Where the provider is to call with this secret: below ``PUBLIC_URL``, or below ``url`` if that has no path; one
    with a path is taken as it is. Raises UnusableURLError, also where the provider can't reach it.

    It holds the secret: show it as ``mask_url`` gives it.
    """
    base = app_settings.public_url if url is None else url
    if not base and url is None:
        text = _("Set PUBLIC_URL in PLUGCHAT to the https:// address of this site, or give a URL as the argument.")
        raise UnusableURLError(text)
    ensure_reachable(base)
    if url is not None and urlsplit(url).path.strip("/"):
        return url
    split_url(base, is_base=True)
    path = callback_path(secret)
    if path is None:
        text = _("The callback has no URL. Add %(line)s to your URLconf, or give the whole URL if one host has it.")
        raise UnusableURLError(text % {"line": URLCONF_LINE})
    return base.rstrip("/") + path


def callback_path(secret: str) -> str | None:
    """The path of the callback as this site has it, with FORCE_SCRIPT_NAME; None if it has none."""
    # The text of NoReverseMatch quotes the secret: it goes no further than this, not even as a context.
    try:
        return reverse("plugchat:callback", args=[secret])
    except NoReverseMatch:
        return None
