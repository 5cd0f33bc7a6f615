"""What is wrong with the ``PLUGCHAT`` setting and the URLs. No message quotes a secret, a token or a URL."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain
from typing import Any, NamedTuple

from django.core import checks
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from django_plugchat.addresses import GENERATOR, PRINTABLE, SECRET, URLCONF_LINE, UnusableURLError, split_base_url
from django_plugchat.conf import DEFAULTS, app_settings

SHORTEST_SECRET = 24
LONGEST_ALIAS = 100

_ACCOUNT_KEYS = ("TOKEN", "WEBHOOK_SECRETS", "LABEL")


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


def check_setting(**kwargs: Any) -> list[checks.CheckMessage]:
    setting = app_settings.configured
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
        reverse("plugchat:callback", args=["secret"])
    except NoReverseMatch:
        return [
            checks.Warning(
                _("The callback has no URL, so PlugChat can't deliver anything."),
                hint=_("Add %(line)s to your URLconf.") % {"line": URLCONF_LINE},
                id="django_plugchat.W004",
            )
        ]
    except Exception:
        # A URLconf that does not load is for Django's own checks to report.
        return []
    return []


def _wrong_type(name: str, expected: str, value: Any) -> checks.Error:
    return checks.Error(
        _("%(name)s has the wrong type: %(type)s.") % {"name": name, "type": type(value).__name__},
        hint=_("It must be %(expected)s.") % {"expected": expected},
        id="django_plugchat.E001",
    )


def _check_keys(name: str, options: dict[Any, Any], known: Iterable[str]) -> Iterator[checks.CheckMessage]:
    for key in options:
        if key not in known:
            nearest = get_close_matches(str(key).upper(), known, n=1, cutoff=0)[0]
            yield checks.Error(
                _("%(name)s has an unknown key: %(key)r.") % {"name": name, "key": key},
                hint=_("Did you mean %(nearest)s? Known are: %(known)s.")
                % {"nearest": nearest, "known": ", ".join(known)},
                id="django_plugchat.E002",
            )


def _check_accounts(accounts: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(accounts, dict):
        yield _wrong_type("PLUGCHAT['ACCOUNTS']", _("a dictionary of accounts by their names"), accounts)
        return
    if not accounts:
        yield checks.Warning(
            _("PLUGCHAT['ACCOUNTS'] has no account, so every callback is answered with 404."),
            hint=_("Add an account with WEBHOOK_SECRETS. Make a secret with %(command)s.") % {"command": GENERATOR},
            id="django_plugchat.W001",
        )
    for alias, options in accounts.items():
        yield from _check_account(alias, options)
    yield from _check_uniqueness({alias: options for alias, options in accounts.items() if isinstance(options, dict)})


def _check_account(alias: Any, options: Any) -> Iterator[checks.CheckMessage]:
    name = f"PLUGCHAT['ACCOUNTS'][{alias!r}]"
    if not isinstance(alias, str) or not 0 < len(alias) <= LONGEST_ALIAS:
        yield checks.Error(
            _("PLUGCHAT['ACCOUNTS'] has an unusable account name: %(alias)r.") % {"alias": alias},
            hint=_("The name of an account must be a string of 1 to %(longest)d characters.")
            % {"longest": LONGEST_ALIAS},
            id="django_plugchat.E003",
        )
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
        yield checks.Error(
            _("%(name)s has a character that no token has.") % {"name": f"{name}['TOKEN']"},
            hint=_("A token is of printable ASCII characters without spaces. Look for a line break at its end."),
            id="django_plugchat.E006",
        )
    yield from _check_secrets(f"{name}['WEBHOOK_SECRETS']", options.get("WEBHOOK_SECRETS"))


def _check_secrets(name: str, secrets: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(secrets, list | tuple | None):
        yield _wrong_type(name, _("a list of strings"), secrets)
        return
    if not any(secrets or ()):
        yield checks.Warning(
            _("%(name)s has no secret, so no callback of this account is accepted.") % {"name": name},
            hint=_("Make one with %(command)s.") % {"command": GENERATOR},
            id="django_plugchat.W001",
        )
    for position, secret in enumerate(secrets or ()):
        item = f"{name}[{position}]"
        if not isinstance(secret, str | None):
            yield _wrong_type(item, _("a string"), secret)
        elif secret and not SECRET.fullmatch(secret):
            yield checks.Error(
                _("%(name)s is not usable as a part of a URL.") % {"name": item},
                hint=_("A secret is at most 200 of the characters A-Z, a-z, 0-9, _ and -. Make one with %(command)s.")
                % {"command": GENERATOR},
                id="django_plugchat.E005",
            )
        elif secret and len(secret) < SHORTEST_SECRET:
            yield checks.Warning(
                _("%(name)s is shorter than %(shortest)d characters, so it could be guessed.")
                % {"name": item, "shortest": SHORTEST_SECRET},
                hint=_("Make a longer one with %(command)s.") % {"command": GENERATOR},
                id="django_plugchat.W002",
            )


def _check_uniqueness(accounts: dict[Any, dict[Any, Any]]) -> Iterator[checks.CheckMessage]:
    tokens = {token for options in accounts.values() if isinstance(token := options.get("TOKEN"), str)}
    users: dict[str, Any] = {}
    for alias, options in accounts.items():
        secrets = options.get("WEBHOOK_SECRETS")
        for position, secret in enumerate(secrets if isinstance(secrets, list | tuple) else ()):
            if not secret or not isinstance(secret, str):
                continue
            name = f"PLUGCHAT['ACCOUNTS'][{alias!r}]['WEBHOOK_SECRETS'][{position}]"
            # Twice in one account does no harm.
            other = users.setdefault(secret, alias)
            if other != alias:
                yield checks.Error(
                    _("%(name)s is a secret of account %(other)r too.") % {"name": name, "other": other},
                    hint=_("The secret says which account calls. Make another with %(command)s.")
                    % {"command": GENERATOR},
                    id="django_plugchat.E007",
                )
            if secret in tokens:
                yield checks.Error(
                    _("%(name)s is also a token.") % {"name": name},
                    hint=_(
                        "URLs end up in logs, and a token lets people send messages. Make a secret with %(command)s."
                    )
                    % {"command": GENERATOR},
                    id="django_plugchat.E008",
                )


def _check_numbers(setting: dict[Any, Any]) -> Iterator[checks.CheckMessage]:
    for key, allowed in _NUMBERS.items():
        value = setting.get(key, DEFAULTS[key])
        name = f"PLUGCHAT['{key}']"
        # True is an int to Python.
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            yield _wrong_type(name, str(allowed), value)
        elif not allowed.holds(value):
            yield checks.Error(
                _("%(name)s is out of range.") % {"name": name},
                hint=_("It must be %(expected)s.") % {"expected": allowed},
                id="django_plugchat.E004",
            )


def _check_public_url(url: Any) -> Iterator[checks.CheckMessage]:
    name = "PLUGCHAT['PUBLIC_URL']"
    if not isinstance(url, str | None):
        yield _wrong_type(name, _("a string"), url)
    elif not url:
        yield checks.Warning(
            _("PLUGCHAT has no PUBLIC_URL, so plugchat_set_webhook does not know what to register."),
            hint=_('Set it to where the provider reaches this site, such as "https://example.com".'),
            id="django_plugchat.W003",
        )
    else:
        try:
            split_base_url(url)
        except UnusableURLError as problem:
            yield checks.Error(
                _("%(name)s is not usable: %(problem)s") % {"name": name, "problem": problem},
                hint=_('Set it to where the provider reaches this site, such as "https://example.com".'),
                id="django_plugchat.E009",
            )


def _check_api_url(url: Any) -> Iterator[checks.CheckMessage]:
    name = "PLUGCHAT['API_URL']"
    if not isinstance(url, str):
        yield _wrong_type(name, _("a string"), url)
        return
    try:
        split_base_url(url, allow_loopback_http=True)
    except UnusableURLError as problem:
        yield checks.Error(
            _("%(name)s is not usable: %(problem)s") % {"name": name, "problem": problem},
            hint=_("Leave it out for the default, %(default)s.") % {"default": DEFAULTS["API_URL"]},
            id="django_plugchat.E010",
        )


def _check_dispatcher(path: Any) -> Iterator[checks.CheckMessage]:
    name = "PLUGCHAT['DISPATCHER']"
    if not isinstance(path, str):
        yield _wrong_type(name, _("the dotted path of a function, as a string"), path)
        return
    try:
        problem = "" if callable(import_string(path)) else _("it is not callable")
    except Exception as error:
        # Any code may run on import; only the text of an ImportError is sure to be about names.
        problem = f"{type(error).__name__}: {error}" if isinstance(error, ImportError) else type(error).__name__
    if problem:
        yield checks.Error(
            _("%(name)s can't be used (%(problem)s).") % {"name": name, "problem": problem},
            hint=_("Set it to the dotted path of a function that takes an event's primary key, or leave it out."),
            id="django_plugchat.E011",
        )
