"""What is wrong with the ``PLUGCHAT`` setting and what surrounds it.

No message quotes a secret, a token or a URL, nor a key or the name of an account: what stands there may be a secret in
the wrong place. They are named by their number.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.db import connections, router
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from django_plugchat.conf import DEFAULTS, PROVIDERS, Z_API, app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.registering import addresses
from django_plugchat.registering.addresses import GENERATOR, PRINTABLE, SECRET, URLCONF_LINE

SHORTEST_SECRET = 24
LONGEST_ALIAS = 100

_ACCOUNT_TEXTS = ("PROVIDER", "INSTANCE", "TOKEN", "CLIENT_TOKEN", "LABEL", "API_URL")
_ACCOUNT_KEYS = (*_ACCOUNT_TEXTS, "WEBHOOK_SECRETS")


#: From and to. The upper ends are what sockets, databases and calendars can hold.
_INTEGERS = {
    "MAX_BODY_BYTES": (1, 2**31 - 1),
    "MAX_REJECTED": (0, 2**31 - 1),
    "RETENTION_DAYS": (1, 365_000),
    "DISPATCH_MAX_ATTEMPTS": (1, 2**15 - 1),
}
#: Greater than zero, and at most this.
_DURATIONS = {"API_TIMEOUT": int(threading.TIMEOUT_MAX), "SILENT_AFTER_HOURS": 10**6, "DISPATCH_LEASE": 10**9}
_FUNCTIONS = ("DISPATCHER", "TOKEN_SOURCE", "ADMIN_ACCOUNTS")


def register_checks() -> None:
    checks.register(check_setting, "plugchat")
    checks.register(check_urls, "plugchat", checks.Tags.urls)
    checks.register(check_database, "plugchat")
    checks.register(check_connections, "plugchat", deploy=True)


def check_setting(**kwargs: Any) -> list[checks.CheckMessage]:
    setting = getattr(settings, "PLUGCHAT", {})
    if not isinstance(setting, dict):
        return [_wrong_type("PLUGCHAT", _("a dictionary"), setting)]
    return list(
        chain(
            _check_keys("PLUGCHAT", setting, DEFAULTS),
            _check_accounts(setting.get("ACCOUNTS", {}), setting.get("TOKEN_SOURCE")),
            _check_numbers(setting),
            _check_public_url(setting.get("PUBLIC_URL")),
            _check_api_url("PLUGCHAT['API_URL']", setting.get("API_URL", DEFAULTS["API_URL"])),
            *(_check_function(key, setting.get(key, DEFAULTS[key])) for key in _FUNCTIONS),
            _check_spool(setting.get("SPOOL_DIR")),
        )
    )


def check_urls(**kwargs: Any) -> list[checks.CheckMessage]:
    try:
        path = addresses.callback_path("secret")
    except Exception:
        # A URLconf that does not load is for Django's own checks to report.
        return []
    if path is None:
        text = _("The callback has no URL in ROOT_URLCONF, so the provider can't deliver anything there.")
        hint = _(
            "Add %(line)s to your URLconf. If it is in the URLconf of a host or tenant, silence this, and give "
            "plugchat_set_webhook the whole URL, with {secret} where the secret belongs, and post_callback the path."
        )
        return [_warning("W004", text, hint, line=URLCONF_LINE)]
    public_url = app_settings.public_url
    if isinstance(public_url, str) and (repeated := addresses.repeated_path(public_url, path)):
        text = _("PLUGCHAT['PUBLIC_URL'] ends with %(path)s, and the path of the callback begins with it.")
        hint = _("Take it out of PUBLIC_URL: what plugchat_set_webhook registers would have it twice.")
        return [_warning("W006", text, hint, path=repeated)]
    return []


def check_database(**kwargs: Any) -> list[checks.CheckMessage]:
    """Of the database that callbacks are written to."""
    database = connections[router.db_for_write(DeliveryEvent)]
    found: list[checks.CheckMessage] = []
    if not database.settings_dict["AUTOCOMMIT"]:
        text = _("DATABASES[%(alias)r] has AUTOCOMMIT False, so a callback could be acknowledged and not be committed.")
        found.append(_warning("W009", text, _("Leave AUTOCOMMIT out."), alias=database.alias))
    waits_for_ever = database.vendor != "sqlite" and "connect_timeout" not in database.settings_dict["OPTIONS"]
    if app_settings.spool_dir and waits_for_ever:
        text = _("DATABASES[%(alias)r] has no connect_timeout: a callback waits for a host that is gone.")
        hint = _('Set "OPTIONS": {"connect_timeout": 2}, so that the spool keeps it before the provider gives up.')
        found.append(_warning("W010", text, hint, alias=database.alias))
    return found


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


def _error(check: str, text: str, hint: str, /, **values: Any) -> checks.Error:
    return checks.Error(text % values, hint=hint % values, id=f"django_plugchat.{check}")


def _warning(check: str, text: str, hint: str, /, **values: Any) -> checks.Warning:
    return checks.Warning(text % values, hint=hint % values, id=f"django_plugchat.{check}")


def _wrong_type(name: str, expected: str, value: Any) -> checks.Error:
    text, hint = _("%(name)s has the wrong type: %(type)s."), _("It must be %(expected)s.")
    return _error("E001", text, hint, name=name, type=type(value).__name__, expected=expected)


def _check_keys(name: str, options: dict[Any, Any], known: Iterable[str]) -> Iterator[checks.CheckMessage]:
    for number, key in enumerate(options, start=1):
        if key not in known:
            near = get_close_matches(str(key).upper(), known, n=1)
            hint = _("Did you mean %(near)s? Known are: %(known)s.") if near else _("Known are: %(known)s.")
            text = _("Key number %(number)d of %(name)s is unknown.")
            yield _error("E002", text, hint, name=name, number=number, near="".join(near), known=", ".join(known))


def _check_accounts(accounts: Any, token_source: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(accounts, dict):
        yield _wrong_type("PLUGCHAT['ACCOUNTS']", _("a dictionary of accounts by their names"), accounts)
        return
    if not accounts and not token_source:
        text = _("PLUGCHAT['ACCOUNTS'] has no account, so no callback is accepted but by accounts of the database.")
        hint = _(
            "Add an account with WEBHOOK_SECRETS, if there is none in the database. Make a secret with %(command)s."
        )
        yield _warning("W001", text, hint, command=GENERATOR)
    named = {f"PLUGCHAT['ACCOUNTS'][number {at}]": options for at, options in enumerate(accounts.values(), start=1)}
    for name, alias in zip(named, accounts, strict=True):
        if not isinstance(alias, str) or not 0 < len(alias) <= LONGEST_ALIAS:
            text, hint = _("%(name)s has an unusable name."), _("It must be a string of 1 to %(longest)d characters.")
            yield _error("E003", text, hint, name=name, longest=LONGEST_ALIAS)
        yield from _check_account(name, named[name])
    yield from _check_uniqueness({name: options for name, options in named.items() if isinstance(options, dict)})


def _check_account(name: str, options: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(options, dict):
        yield _wrong_type(name, _("a dictionary"), options)
        return
    yield from _check_keys(name, options, _ACCOUNT_KEYS)
    # None is what os.environ.get() gives in a build without secrets: the same as absent.
    for key in _ACCOUNT_TEXTS:
        value = options.get(key)
        if isinstance(value, str):
            yield from _check_account_text(key, f"{name}['{key}']", value)
        elif value is not None and not (key == "LABEL" and isinstance(value, Promise)):
            yield _wrong_type(f"{name}['{key}']", _("a string"), value)
    if options.get("PROVIDER") == Z_API and not options.get("INSTANCE"):
        text = _("%(name)s has no INSTANCE, so it can't be registered.")
        yield _warning("W011", text, _("Set it to the id of the instance that Z-API's panel shows."), name=name)
    yield from _check_secrets(f"{name}['WEBHOOK_SECRETS']", options.get("WEBHOOK_SECRETS"))


def _check_account_text(key: str, name: str, value: str) -> Iterator[checks.CheckMessage]:
    if key in {"TOKEN", "CLIENT_TOKEN"} and value and not PRINTABLE.fullmatch(value):
        text = _("%(name)s has a character that no token has.")
        hint = _("A token is of printable ASCII characters without spaces. Look for a line break at its end.")
        yield _error("E006", text, hint, name=name)
    elif key == "PROVIDER" and value and value not in PROVIDERS:
        text, hint = _("%(name)s is unknown."), _("Known are: %(known)s.")
        yield _error("E012", text, hint, name=name, known=", ".join(PROVIDERS))
    elif key == "API_URL" and value:
        yield from _check_api_url(name, value)


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


def _check_uniqueness(accounts: dict[str, dict[Any, Any]]) -> Iterator[checks.CheckMessage]:
    tokens = {str(options.get(key)) for options in accounts.values() for key in ("TOKEN", "CLIENT_TOKEN")}
    users: dict[str, str] = {}
    for name, options in accounts.items():
        secrets = options.get("WEBHOOK_SECRETS")
        for position, secret in enumerate(secrets if isinstance(secrets, list | tuple) else ()):
            if not secret or not isinstance(secret, str):
                continue
            # Twice in one account does no harm.
            other = users.setdefault(secret, name)
            values = {"name": f"{name}['WEBHOOK_SECRETS'][{position}]", "other": other, "command": GENERATOR}
            if other != name:
                hint = _("The secret says which account calls. Make another with %(command)s.")
                yield _error("E007", _("%(name)s is a secret of %(other)s too."), hint, **values)
            if secret in tokens:
                hint = _("URLs end up in logs, and a token can send messages. Make a secret with %(command)s.")
                yield _error("E008", _("%(name)s is also a token."), hint, **values)


def _check_numbers(setting: dict[Any, Any]) -> Iterator[checks.CheckMessage]:
    for key in (*_INTEGERS, *_DURATIONS):
        value = setting.get(key, DEFAULTS[key])
        if value is None and key == "RETENTION_DAYS":
            continue
        name = f"PLUGCHAT['{key}']"
        minimum, maximum = _INTEGERS.get(key) or (0, _DURATIONS[key])
        if key in _DURATIONS:
            expected = _("a number greater than %(minimum)d and at most %(maximum)d")
        else:
            expected = _("an integer from %(minimum)d to %(maximum)d")
        expected %= {"minimum": minimum, "maximum": maximum}
        # True is an int to Python.
        if isinstance(value, bool) or not isinstance(value, int | float if key in _DURATIONS else int):
            yield _wrong_type(name, expected, value)
        elif not minimum <= value <= maximum or (key in _DURATIONS and value == minimum):
            text, hint = _("%(name)s is out of range."), _("It must be %(expected)s.")
            yield _error("E004", text, hint, name=name, expected=expected)


def _check_public_url(url: Any) -> Iterator[checks.CheckMessage]:
    hint = _('Set it to where the provider reaches this site, such as "https://hooks.yoursite.com".')
    if not isinstance(url, str | None):
        yield _wrong_type("PLUGCHAT['PUBLIC_URL']", _("a string"), url)
    elif not url:
        text = _("PLUGCHAT has no PUBLIC_URL, so plugchat_set_webhook does not know what to register.")
        yield _warning("W003", text, hint)
    elif problem := _problem_of(url):
        yield _error("E009", _("PLUGCHAT['PUBLIC_URL'] is not usable: %(problem)s"), hint, problem=problem)
    elif addresses.is_nobodys(url):
        yield _warning("W008", _("The host of PLUGCHAT['PUBLIC_URL'] is a name for examples."), hint)
    elif not addresses.is_allowed_host(url):
        text = _("ALLOWED_HOSTS does not have the host of PLUGCHAT['PUBLIC_URL'], so callbacks are answered with 400.")
        yield _warning("W005", text, _("Add %(host)r to ALLOWED_HOSTS."), host=urlsplit(url).hostname)


def _check_api_url(name: str, url: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(url, str):
        yield _wrong_type(name, _("a string"), url)
    elif problem := _problem_of(url, allow_loopback_http=True):
        text, hint = _("%(name)s is not usable: %(problem)s"), _("Leave it out to use the provider's own.")
        yield _error("E010", text, hint, name=name, problem=problem)


def _problem_of(url: str, *, allow_loopback_http: bool = False) -> str:
    try:
        addresses.split_base_url(url, allow_loopback_http=allow_loopback_http)
    except addresses.UnusableURLError as problem:
        return str(problem)
    return _("Its path holds a secret or a token.") if addresses.has_credential(url) else ""


def _check_function(key: str, path: Any) -> Iterator[checks.CheckMessage]:
    name = f"PLUGCHAT['{key}']"
    if path is None and DEFAULTS[key] is None:
        return
    if not isinstance(path, str):
        yield _wrong_type(name, _("the dotted path of a function, as a string"), path)
        return
    try:
        problem = "" if callable(import_string(path)) else _("it is not callable")
    except Exception as error:
        # Any code may run on import, and its text say anything.
        problem = type(error).__name__
    if problem:
        text = _("%(name)s can't be used (%(problem)s).")
        hint = _("Set it to the dotted path of a function as the documentation of the settings says, or leave it out.")
        yield _error("E011", text, hint, name=name, problem=problem)


def _check_spool(folder: Any) -> Iterator[checks.CheckMessage]:
    if not isinstance(folder, str | os.PathLike | None):
        yield _wrong_type("PLUGCHAT['SPOOL_DIR']", _("the path of a folder"), folder)
    elif folder and not Path(folder).is_absolute():
        text = _("PLUGCHAT['SPOOL_DIR'] is not an absolute path, so that each process might take another folder.")
        yield _error("E013", text, _("Begin it with the root, for example /var/lib/yoursite/plugchat."))
