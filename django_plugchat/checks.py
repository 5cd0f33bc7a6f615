"""What is wrong with the ``PLUGCHAT`` setting and what surrounds it.

No message quotes a secret, a token or a URL, nor a key or the name of an account: what stands there may be a secret in
the wrong place. They are named by their number.
"""

import os
import threading
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.db import connections, router
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from django_plugchat.conf import DEFAULTS, PROVIDERS, Account, app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.redaction import mask_url
from django_plugchat.registering import addresses

_EXPECTED = _("It must be %(expected)s.")
_MAKE_SECRET = _("Make a secret with %(command)s.")
_SET_URL = _('Set it to where the provider reaches this site, such as "https://hooks.yoursite.com".')
_UNUSABLE_URL = _("%(name)s is not usable: %(problem)s")

#: What each message says, and what to do about it.
_MESSAGES = {
    "E001": (_("%(name)s has the wrong type: %(type)s."), _EXPECTED),
    "E002": (_("Key number %(number)d of %(name)s is unknown."), _("%(guess)sKnown are: %(known)s.")),
    "E003": (_("%(name)s has an unusable name."), _("It must be a string of 1 to 100 characters.")),
    "E004": (_("%(name)s is out of range."), _EXPECTED),
    "E005": (_("%(name)s is not at most 200 of the characters A-Z, a-z, 0-9, _ and -."), _MAKE_SECRET),
    "E006": (_("%(name)s has a character that no token has."), _("Look for a blank, or a line break at its end.")),
    "E007": (_("%(name)s has a secret of %(other)s."), _MAKE_SECRET),
    "E008": (_("%(name)s has a secret that is also a token, and URLs end up in logs."), _MAKE_SECRET),
    "E009": (_UNUSABLE_URL, _SET_URL),
    "E010": (_UNUSABLE_URL, _("Leave it out to use the provider's own.")),
    "E011": (_("%(name)s can't be used (%(problem)s)."), _("Set it to the dotted path of a function.")),
    "E012": (_("%(name)s is unknown."), _("Known are: %(known)s.")),
    "E013": (_("%(name)s is not an absolute path."), _("Begin it with the root: /var/lib/yoursite/plugchat, say.")),
    "W001": (_("%(name)s has no secret, so that it accepts no callback."), _MAKE_SECRET),
    "W002": (_("%(name)s is shorter than 24 characters, so it could be guessed."), _MAKE_SECRET),
    "W003": (_("PLUGCHAT has no PUBLIC_URL, so plugchat_set_webhook does not know what to register."), _SET_URL),
    "W004": (_("The callback has no URL in ROOT_URLCONF."), _("Add %(line)s, or silence this if a tenant's has it.")),
    "W005": (_("Django doesn't answer at the host of PLUGCHAT['PUBLIC_URL']."), _("Add %(host)r to ALLOWED_HOSTS.")),
    "W006": (_("PUBLIC_URL ends with %(path)s, as the callback's path begins."), _("Take it out of PUBLIC_URL.")),
    "W007": (_("CONN_MAX_AGE piles up connections under ASGI (%(aliases)s)."), _("Set it to 0, or use a pool.")),
    "W008": (_("The host of PLUGCHAT['PUBLIC_URL'] is a name for examples."), _SET_URL),
    "W009": (_("DATABASES[%(alias)r] has AUTOCOMMIT False: what is acknowledged may be lost."), _("Leave it out.")),
    "W010": (_("DATABASES[%(alias)r] has no connect_timeout, beside a SPOOL_DIR."), _("Set it in OPTIONS, to 2 say.")),
}

_STRING = _("a string")
_FUNCTION = _("the dotted path of a function, as a string")
_NUMBER = _("a number from {minimum} to {maximum}")
_INTEGER = _("an integer from {minimum} to {maximum}")

_Found = Iterable[checks.CheckMessage]
#: What there is to say of a value, by its name for people.
_Check = Callable[[str, Any], _Found]
#: The types that a value may have, the same in words, and what there is to say of one that has them.
_Kind = tuple[Any, Any] | tuple[Any, Any, _Check]


def register_checks() -> None:
    checks.register(check_setting, "plugchat")
    checks.register(check_urls, "plugchat", checks.Tags.urls)
    checks.register(check_database, "plugchat")
    checks.register(check_connections, "plugchat", deploy=True)


def check_setting(**kwargs: Any) -> list[checks.CheckMessage]:
    setting = getattr(settings, "PLUGCHAT", {})
    return list(_check("PLUGCHAT", setting, dict, _("a dictionary"), _check_setting))


def check_urls(**kwargs: Any) -> list[checks.CheckMessage]:
    try:
        path = addresses.callback_path("secret")
    except Exception:
        # A URLconf that does not load is for Django's own checks to report.
        return []
    if path is None:
        return [_message("W004", line=addresses.URLCONF_LINE)]
    segments = str(app_settings.public_url).rstrip("/").split("/")[3:]
    endings = ("/".join(["", *segments[start:]]) for start in range(len(segments)))
    return [_message("W006", path=ending) for ending in endings if path.startswith(f"{ending}/")]


def check_database(**kwargs: Any) -> list[checks.CheckMessage]:
    """Of the database that callbacks are written to."""
    database = connections[router.db_for_write(DeliveryEvent)]
    waits_for_ever = database.vendor != "sqlite" and "connect_timeout" not in database.settings_dict["OPTIONS"]
    found = {"W009": not database.settings_dict["AUTOCOMMIT"], "W010": app_settings.spool_dir and waits_for_ever}
    return [_message(check, alias=database.alias) for check, is_found in found.items() if is_found]


def check_connections(**kwargs: Any) -> list[checks.CheckMessage]:
    """Of the servers, settings tell ASGI alone, and that by ``ASGI_APPLICATION``, which Channels and Daphne need."""
    kept = [alias for alias, database in settings.DATABASES.items() if database.get("CONN_MAX_AGE", 0) != 0]
    is_asgi = getattr(settings, "ASGI_APPLICATION", None)
    return [_message("W007", aliases=", ".join(kept))] if kept and is_asgi else []


def _message(check: str, **values: Any) -> checks.CheckMessage:
    text, hint = _MESSAGES[check]
    kind = checks.Error if check.startswith("E") else checks.Warning
    values |= {"command": addresses.GENERATOR}
    return kind(text % values, hint=hint % values, id=f"django_plugchat.{check}")


def _check(name: str, value: Any, types: Any, expected: Any, check: _Check | None = None) -> _Found:
    # True is an int to Python.
    if not isinstance(value, types) or isinstance(value, bool):
        yield _message("E001", name=name, type=type(value).__name__, expected=expected)
    elif check:
        yield from check(name, value)


def _check_options(name: str, options: dict[Any, Any], kinds: dict[str, _Kind], defaults: dict[str, Any]) -> _Found:
    for number, key in enumerate(options, start=1):
        if key not in kinds:
            near = get_close_matches(str(key).upper(), kinds, n=1)
            guess = "".join(_("Did you mean %(near)s?") % {"near": key} + " " for key in near)
            yield _message("E002", name=name, number=number, guess=guess, known=", ".join(kinds))
    for key, kind in kinds.items():
        yield from _check(f"{name}['{key}']", options.get(key, defaults.get(key)), *kind)


def _check_setting(name: str, setting: dict[Any, Any]) -> _Found:
    if setting.get("ACCOUNTS", {}) == {} and not setting.get("TOKEN_SOURCE"):
        yield _message("W001", name=f"{name}['ACCOUNTS']")
    yield from _check_options(name, setting, _KINDS, DEFAULTS)


def _check_accounts(name: str, accounts: dict[Any, Any]) -> _Found:
    read = {}
    for number, (alias, options) in enumerate(accounts.items(), start=1):
        account = f"{name}[number {number}]"
        if not isinstance(alias, str) or not 0 < len(alias) <= 100:
            yield _message("E003", name=account)
        yield from _check(account, options, dict, _("a dictionary"), _check_account)
        read[account] = Account.from_setting("", options)
    yield from _check_uniqueness(read)


def _check_account(name: str, account: dict[Any, Any]) -> _Found:
    # None or "" is what the environment gives in a build without secrets: the same as absent.
    given = {key: value or None for key, value in account.items()}
    return _check_options(name, given, _KINDS_OF_ACCOUNT, {})


def _check_secrets(name: str, secrets: Any) -> _Found:
    if not any(secrets or ()):
        yield _message("W001", name=name)
    for position, secret in enumerate(secrets or ()):
        yield from _check(f"{name}[{position}]", secret, str | None, _STRING, _check_secret)


def _check_secret(name: str, secret: str | None) -> _Found:
    if secret and not addresses.SECRET.fullmatch(secret):
        yield _message("E005", name=name)
    elif secret and len(secret) < 24:
        yield _message("W002", name=name)


def _check_uniqueness(accounts: dict[str, Account]) -> _Found:
    tokens = {token for account in accounts.values() for token in (account.token, account.client_token)}
    users: dict[str, str] = {}
    for name, account in accounts.items():
        for secret in account.webhook_secrets:
            # Twice in one account does no harm.
            if (other := users.setdefault(secret, name)) != name:
                yield _message("E007", name=name, other=other)
            if secret in tokens:
                yield _message("E008", name=name)


def _check_public_url(name: str, url: str | None) -> _Found:
    if not url:
        yield _message("W003")
    elif problem := _problem_of(url):
        yield _message("E009", name=name, problem=problem)
    elif addresses.is_nobodys(url):
        yield _message("W008")
    elif not addresses.is_allowed_host(url):
        yield _message("W005", host=urlsplit(url).hostname)


def _check_api_url(name: str, url: str | None) -> _Found:
    if url is not None and (problem := _problem_of(url, allow_loopback_http=True)):
        yield _message("E010", name=name, problem=problem)


def _problem_of(url: str, *, allow_loopback_http: bool = False) -> str:
    try:
        addresses.split_url(url, is_base=True, allow_loopback_http=allow_loopback_http)
    except addresses.UnusableURLError as problem:
        return str(problem)
    return str(_("Its path holds a secret or a token.")) if mask_url(url) != url else ""


def _check_function(name: str, path: str | None) -> _Found:
    try:
        problem = "" if path is None or callable(import_string(path)) else _("it is not callable")
    except Exception as error:
        # Any code may run on import, and its text say anything.
        problem = type(error).__name__
    if problem:
        yield _message("E011", name=name, problem=problem)


def _must(is_right: Callable[[Any], Any], check: str, **values: Any) -> _Check:
    """What is said of a value that is there and not right."""
    return lambda name, value: [] if value in (None, "") or is_right(value) else [_message(check, name=name, **values)]


def _within(types: Any, text: Any, minimum: float, maximum: float) -> _Kind:
    expected = format_lazy(text, minimum=minimum, maximum=maximum)
    return types, expected, _must(lambda number: minimum <= number <= maximum, "E004", expected=expected)


#: The upper ends are what sockets, databases and calendars can hold.
_KINDS: dict[str, _Kind] = {
    "ACCOUNTS": (dict, _("a dictionary of accounts by their names"), _check_accounts),
    "PUBLIC_URL": (str | None, _STRING, _check_public_url),
    "API_URL": (str, _STRING, _check_api_url),
    "API_TIMEOUT": _within(int | float, _NUMBER, 0.001, int(threading.TIMEOUT_MAX)),
    "TOKEN_SOURCE": (str | None, _FUNCTION, _check_function),
    "MAX_BODY_BYTES": _within(int, _INTEGER, 1, 2**31 - 1),
    "MAX_REJECTED": _within(int, _INTEGER, 0, 2**31 - 1),
    "RETENTION_DAYS": _within(int | None, _INTEGER, 1, 365_000),
    "SILENT_AFTER_HOURS": _within(int | float, _NUMBER, 0.001, 10**6),
    "DISPATCHER": (str, _FUNCTION, _check_function),
    "DISPATCH_LEASE": _within(int | float, _NUMBER, 0.001, 10**9),
    "DISPATCH_MAX_ATTEMPTS": _within(int, _INTEGER, 1, 2**15 - 1),
    "SPOOL_DIR": (str | os.PathLike | None, _("the path of a folder"), _must(os.path.isabs, "E013")),
    "ADMIN_ACCOUNTS": (str | None, _FUNCTION, _check_function),
}
_KINDS_OF_ACCOUNT: dict[str, _Kind] = {
    "PROVIDER": (str | None, _STRING, _must(PROVIDERS.__contains__, "E012", known=", ".join(PROVIDERS))),
    "INSTANCE": (str | None, _STRING),
    "TOKEN": (str | None, _STRING, _must(addresses.PRINTABLE.fullmatch, "E006")),
    "CLIENT_TOKEN": (str | None, _STRING, _must(addresses.PRINTABLE.fullmatch, "E006")),
    "LABEL": (str | Promise | None, _STRING),
    "API_URL": (str | None, _STRING, _check_api_url),
    "WEBHOOK_SECRETS": (list | tuple | None, _("a list of strings"), _check_secrets),
}
