"""What is wrong with the ``PLUGCHAT`` setting and what surrounds it. No message quotes a secret, a token or a URL, nor
what may be one that was put where a name belongs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain
from typing import Any, NamedTuple

from django.conf import settings
from django.core import checks
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from django_plugchat.conf import DEFAULTS, app_settings
from django_plugchat.redaction import redact
from django_plugchat.registering import addresses
from django_plugchat.registering.addresses import GENERATOR, PRINTABLE, SECRET, URLCONF_LINE

SHORTEST_SECRET = 24
LONGEST_ALIAS = 100

_ACCOUNT_KEYS = ("TOKEN", "WEBHOOK_SECRETS", "LABEL")
_LETTERS = re.compile("[A-Za-z_]+")
_WORDS = re.compile(r"[^\s.]+")


class _Range(NamedTuple):
    minimum: float
    maximum: float
    #: Fractions are allowed, and the minimum itself is not.
    is_duration: bool = False
    may_be_none: bool = False

    def holds(self, value: float | None) -> bool:
        if value is None:
            return self.may_be_none
        if self.is_duration:
            return self.minimum < value <= self.maximum
        return isinstance(value, int) and self.minimum <= value <= self.maximum

    def __str__(self) -> str:
        if self.is_duration:
            return _("a number greater than %(minimum)d and at most %(maximum)d") % self._asdict()
        if self.may_be_none:
            return _("None or an integer from %(minimum)d to %(maximum)d") % self._asdict()
        return _("an integer from %(minimum)d to %(maximum)d") % self._asdict()


#: The upper ends are what sockets, databases and calendars can hold.
_NUMBERS = {
    "API_TIMEOUT": _Range(0, int(threading.TIMEOUT_MAX), is_duration=True),
    "MAX_BODY_BYTES": _Range(1, 2**31 - 1),
    "MAX_REJECTED": _Range(0, 2**31 - 1),
    "RETENTION_DAYS": _Range(1, 365_000, may_be_none=True),
    "DISPATCH_LEASE": _Range(0, 10**9, is_duration=True),
    "DISPATCH_MAX_ATTEMPTS": _Range(1, 2**15 - 1),
}


def register_checks() -> None:
    checks.register(check_setting, "plugchat")
    checks.register(check_urls, "plugchat", checks.Tags.urls)
    checks.register(check_connections, "plugchat", deploy=True)


def check_setting(**kwargs: Any) -> list[checks.CheckMessage]:
    setting = getattr(settings, "PLUGCHAT", {})
    if not isinstance(setting, dict):
        return [_wrong_type("PLUGCHAT", _("a dictionary"), setting)]
    return list(
        chain(
            _check_keys("PLUGCHAT", setting, DEFAULTS),
            _check_accounts(setting.get("ACCOUNTS", {})),
            _check_numbers(setting),
            _check_public_url(setting.get("PUBLIC_URL")),
            _check_api_url(setting.get("API_URL", DEFAULTS["API_URL"])),
            _check_dispatcher(setting.get("DISPATCHER", DEFAULTS["DISPATCHER"])),
        )
    )


def check_urls(**kwargs: Any) -> list[checks.CheckMessage]:
    try:
        path = addresses.callback_path("secret")
    except Exception:
        # A URLconf that does not load is for Django's own checks to report.
        return []
    if path is None:
        text, hint = (
            _("The callback has no URL, so PlugChat can't deliver anything."),
            _("Add %(line)s to your URLconf."),
        )
        return [_warning("W004", text, hint, line=URLCONF_LINE)]
    public_url = app_settings.public_url
    if isinstance(public_url, str) and (repeated := addresses.repeated_path(public_url, path)):
        text = _("PLUGCHAT['PUBLIC_URL'] ends with %(path)s, and the path of the callback begins with it.")
        hint = _("Take it out of PUBLIC_URL: what plugchat_set_webhook registers would have it twice.")
        return [_warning("W006", text, hint, path=repeated)]
    return []


def check_connections(**kwargs: Any) -> list[checks.CheckMessage]:
    """Of the servers, settings tell ASGI alone, and that by ``ASGI_APPLICATION``, which Channels and Daphne need."""
    kept = [alias for alias, database in settings.DATABASES.items() if database.get("CONN_MAX_AGE", 0) != 0]
    if not kept or not getattr(settings, "ASGI_APPLICATION", None):
        return []
    text = _("CONN_MAX_AGE keeps database connections open under ASGI (%(aliases)s).")
    hint = _(
        "Requests run in ever new threads there, so that connections pile up and the database refuses further ones. "
        "Set CONN_MAX_AGE to 0, or use a pool."
    )
    return [_warning("W007", text, hint, aliases=", ".join(kept))]


def _error(number: str, text: str, hint: str, **values: Any) -> checks.Error:
    return checks.Error(text % values, hint=hint % values, id=f"django_plugchat.{number}")


def _warning(number: str, text: str, hint: str, **values: Any) -> checks.Warning:
    return checks.Warning(text % values, hint=hint % values, id=f"django_plugchat.{number}")


def _wrong_type(name: str, expected: str, value: Any) -> checks.Error:
    text, hint = _("%(name)s has the wrong type: %(type)s."), _("It must be %(expected)s.")
    return _error("E001", text, hint, name=name, type=type(value).__name__, expected=expected)


def _may_be_secret(text: str) -> bool:
    # Redacted is what is a secret or a token where it belongs, too.
    return redact(text) != text or any(len(word) >= SHORTEST_SECRET for word in _WORDS.findall(text))


def _item(number: int) -> str:
    return _("item %(number)d, not shown since it may be a secret") % {"number": number}


def _check_keys(name: str, options: dict[Any, Any], known: Iterable[str]) -> Iterator[checks.CheckMessage]:
    for number, key in enumerate(options, start=1):
        if key not in known:
            near = get_close_matches(str(key).upper(), known, n=1)
            hint = _("Did you mean %(near)s? Known are: %(known)s.") if near else _("Known are: %(known)s.")
            text = _("%(name)s has an unknown key: %(key)s.")
            shown = repr(key) if _is_key(key, is_near=bool(near)) else _item(number)
            yield _error("E002", text, hint, name=name, key=shown, near="".join(near), known=", ".join(known))


def _is_key(key: Any, *, is_near: bool) -> bool:
    """Whether it looks like the name of a setting. A secret has digits, or both small and capital letters."""
    looks_like_one = isinstance(key, str) and _LETTERS.fullmatch(key) and (is_near or key.isupper())
    return bool(looks_like_one) and not _may_be_secret(key)


def _check_accounts(accounts: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(accounts, dict):
        yield _wrong_type("PLUGCHAT['ACCOUNTS']", _("a dictionary of accounts by their names"), accounts)
        return
    if not accounts:
        text = _("PLUGCHAT['ACCOUNTS'] has no account, so every callback is answered with 404.")
        hint = _("Add an account with WEBHOOK_SECRETS. Make a secret with %(command)s.")
        yield _warning("W001", text, hint, command=GENERATOR)
    shown = {alias: _shown_alias(alias, number) for number, alias in enumerate(accounts, start=1)}
    for alias, options in accounts.items():
        yield from _check_account(alias, shown[alias], options)
    yield from _check_uniqueness({shown[alias]: options for alias, options in accounts.items()})


def _shown_alias(alias: Any, number: int) -> str:
    return _item(number) if _may_be_secret(alias if isinstance(alias, str) else repr(alias)) else repr(alias)


def _check_account(alias: Any, shown: str, options: Any) -> Iterator[checks.CheckMessage]:
    name = f"PLUGCHAT['ACCOUNTS'][{shown}]"
    if not isinstance(alias, str) or not 0 < len(alias) <= LONGEST_ALIAS:
        text = _("PLUGCHAT['ACCOUNTS'] has an unusable account name: %(alias)s.")
        hint = _("The name of an account must be a string of 1 to %(longest)d characters.")
        yield _error("E003", text, hint, alias=shown, longest=LONGEST_ALIAS)
    if not isinstance(options, dict):
        yield _wrong_type(name, _("a dictionary"), options)
        return
    yield from _check_keys(name, options, _ACCOUNT_KEYS)
    # None is what os.environ.get() gives in a build without secrets: the same as absent.
    label, token = options.get("LABEL"), options.get("TOKEN")
    if not isinstance(label, str | Promise | None):
        yield _wrong_type(f"{name}['LABEL']", _("a string"), label)
    if not isinstance(token, str | None):
        yield _wrong_type(f"{name}['TOKEN']", _("a string"), token)
    elif token and not PRINTABLE.fullmatch(token):
        text = _("%(name)s has a character that no token has.")
        hint = _("A token is of printable ASCII characters without spaces. Look for a line break at its end.")
        yield _error("E006", text, hint, name=f"{name}['TOKEN']")
    yield from _check_secrets(f"{name}['WEBHOOK_SECRETS']", options.get("WEBHOOK_SECRETS"))


def _check_secrets(name: str, secrets: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(secrets, list | tuple | None):
        yield _wrong_type(name, _("a list of strings"), secrets)
        return
    if not any(secrets or ()):
        text = _("%(name)s has no secret, so no callback of this account is accepted.")
        yield _warning("W001", text, _("Make one with %(command)s."), name=name, command=GENERATOR)
    for position, secret in enumerate(secrets or ()):
        item = f"{name}[{position}]"
        if not isinstance(secret, str | None):
            yield _wrong_type(item, _("a string"), secret)
        elif secret and not SECRET.fullmatch(secret):
            text = _("%(name)s is not usable as a part of a URL.")
            hint = _("A secret is at most 200 of the characters A-Z, a-z, 0-9, _ and -. Make one with %(command)s.")
            yield _error("E005", text, hint, name=item, command=GENERATOR)
        elif secret and len(secret) < SHORTEST_SECRET:
            text = _("%(name)s is shorter than %(shortest)d characters, so it could be guessed.")
            hint = _("Make a longer one with %(command)s.")
            yield _warning("W002", text, hint, name=item, shortest=SHORTEST_SECRET, command=GENERATOR)


def _check_uniqueness(accounts: dict[str, Any]) -> Iterator[checks.CheckMessage]:
    """``accounts`` by their names as they are shown."""
    usable = {shown: options for shown, options in accounts.items() if isinstance(options, dict)}
    tokens = {token for options in usable.values() if isinstance(token := options.get("TOKEN"), str)}
    users: dict[str, str] = {}
    for shown, options in usable.items():
        secrets = options.get("WEBHOOK_SECRETS")
        for position, secret in enumerate(secrets if isinstance(secrets, list | tuple) else ()):
            if not secret or not isinstance(secret, str):
                continue
            name = f"PLUGCHAT['ACCOUNTS'][{shown}]['WEBHOOK_SECRETS'][{position}]"
            # Twice in one account does no harm.
            other = users.setdefault(secret, shown)
            if other != shown:
                text = _("%(name)s is a secret of account %(other)s too.")
                hint = _("The secret says which account calls. Make another with %(command)s.")
                yield _error("E007", text, hint, name=name, other=other, command=GENERATOR)
            if secret in tokens:
                text = _("%(name)s is also a token.")
                hint = _("URLs end up in logs, and a token can send messages. Make a secret with %(command)s.")
                yield _error("E008", text, hint, name=name, command=GENERATOR)


def _check_numbers(setting: dict[Any, Any]) -> Iterator[checks.CheckMessage]:
    for key, allowed in _NUMBERS.items():
        value = setting.get(key, DEFAULTS[key])
        name = f"PLUGCHAT['{key}']"
        # True is an int to Python.
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            yield _wrong_type(name, str(allowed), value)
        elif not allowed.holds(value):
            text, hint = _("%(name)s is out of range."), _("It must be %(expected)s.")
            yield _error("E004", text, hint, name=name, expected=allowed)


def _check_public_url(url: Any) -> Iterator[checks.CheckMessage]:
    hint = _('Set it to where the provider reaches this site, such as "https://example.com".')
    if not isinstance(url, str | None):
        yield _wrong_type("PLUGCHAT['PUBLIC_URL']", _("a string"), url)
        return
    if not url:
        text = _("PLUGCHAT has no PUBLIC_URL, so plugchat_set_webhook does not know what to register.")
        yield _warning("W003", text, hint)
        return
    try:
        host = addresses.split_base_url(url).hostname
    except addresses.UnusableURLError as problem:
        yield _error("E009", _("PLUGCHAT['PUBLIC_URL'] is not usable: %(problem)s"), hint, problem=problem)
        return
    if not addresses.is_allowed_host(url):
        text = _("ALLOWED_HOSTS does not have the host of PLUGCHAT['PUBLIC_URL'], so callbacks are answered with 400.")
        yield _warning("W005", text, _("Add %(host)r to ALLOWED_HOSTS."), host=host)


def _check_api_url(url: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(url, str):
        yield _wrong_type("PLUGCHAT['API_URL']", _("a string"), url)
        return
    try:
        addresses.split_base_url(url, allow_loopback_http=True)
    except addresses.UnusableURLError as problem:
        text, hint = _("PLUGCHAT['API_URL'] is not usable: %(problem)s"), _("The default is %(default)s.")
        yield _error("E010", text, hint, problem=problem, default=DEFAULTS["API_URL"])


def _check_dispatcher(path: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(path, str):
        yield _wrong_type("PLUGCHAT['DISPATCHER']", _("the dotted path of a function, as a string"), path)
        return
    try:
        problem = "" if callable(import_string(path)) else _("it is not callable")
    except Exception as error:
        # Any code may run on import; only the text of an ImportError is sure to be about names, the path's among them.
        is_about_names = isinstance(error, ImportError) and not _may_be_secret(path)
        problem = f"{type(error).__name__}: {error}" if is_about_names else type(error).__name__
    if problem:
        text = _("PLUGCHAT['DISPATCHER'] can't be used (%(problem)s).")
        hint = _("Set it to the dotted path of a function that takes an event's primary key, or leave it out.")
        yield _error("E011", text, hint, problem=problem)
