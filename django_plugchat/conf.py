"""The ``PLUGCHAT`` setting, read live. Changing ACCOUNTS in place has no effect; assign a new dict."""

import hashlib
from copy import copy
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

from django.conf import settings

PLUGCHAT, Z_API = "plugchat", "z-api"
PROVIDERS = (PLUGCHAT, Z_API)


def digest_of(secret: str) -> str:
    """What a secret is known by: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def secret_id(secret: str) -> str:
    """Name a secret without telling it: the first 8 hex digits of its SHA-256."""
    return digest_of(secret)[:8]


@dataclass(frozen=True)
class Account:
    """An account of ``ACCOUNTS`` or of the database; no secret and no token of the latter is known."""

    alias: str
    #: May be lazy: ``accounts.label`` gives it as a string, in the language of its reader.
    label: Any
    provider: str = PLUGCHAT
    instance: str = ""
    #: "" for the default of the provider.
    api_url: str = ""
    token: str = field(default="", repr=False)
    client_token: str = field(default="", repr=False)
    #: The first is registered, every one is accepted.
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_setting(cls, alias: str, value: Any) -> Self:
        options = value if isinstance(value, dict) else {}
        keys = ("PROVIDER", "INSTANCE", "API_URL", "TOKEN", "CLIENT_TOKEN")
        texts = {key.lower(): options[key] for key in keys if options.get(key) and isinstance(options[key], str)}
        secrets = options.get("WEBHOOK_SECRETS")
        # Of a string where a list belongs, each letter would be a secret.
        secrets = secrets if isinstance(secrets, list | tuple) else ()
        webhook_secrets = tuple(secret for secret in secrets if secret and isinstance(secret, str))
        return cls(alias, options.get("LABEL") or alias, webhook_secrets=webhook_secrets, **texts)


@dataclass(repr=False)
class Configured:
    """What PLUGCHAT says: each key in small letters, with its default. Built once for each value of the setting."""

    #: Those of the setting. ``django_plugchat.accounts`` knows those of the database as well.
    accounts: dict[str, Account] = field(default_factory=dict)
    public_url: str = ""
    api_url: str = "https://www.plugchat.com.br/api/whatsapp"
    api_timeout: float = 10
    token_source: str | None = None
    max_body_bytes: int = 65536
    max_rejected: int = 10000
    retention_days: int | None = 180
    silent_after_hours: float = 36
    dispatcher: str = "django_plugchat.tasks.enqueue"
    dispatch_lease: float = 300
    dispatch_max_attempts: int = 5
    spool_dir: str | Path | None = None
    admin_accounts: str | None = None

    @classmethod
    def from_setting(cls, value: Any) -> Self:
        said = value.items() if isinstance(value, dict) else ()
        given = {key.lower(): each for key, each in said if key in DEFAULTS}
        accounts = given.get("accounts")
        given["accounts"] = {
            alias: Account.from_setting(alias, options)
            for alias, options in (accounts.items() if isinstance(accounts, dict) else ())
            if isinstance(alias, str)
        }
        return cls(**given)

    @cached_property
    def callers(self) -> dict[str, str]:
        """Which account a secret belongs to, by its digest."""
        return {
            digest_of(secret): account.alias for account in self.accounts.values() for secret in account.webhook_secrets
        }

    @cached_property
    def confidential(self) -> frozenset[str]:
        """Every secret and token: what no log may show."""
        accounts = self.accounts.values()
        texts = (text for each in accounts for text in (*each.webhook_secrets, each.token, each.client_token))
        return frozenset(filter(None, texts))


DEFAULTS: dict[str, Any] = {key.upper(): default for key, default in asdict(Configured()).items()}


class _Live:
    #: A value of the setting, what its keys held then, and what was built from it: together, so that a thread never
    #: pairs one with the other's.
    _built: tuple[Any, Any, Configured] = (object(), None, Configured())

    def __getattr__(self, name: str) -> Any:
        value, built = getattr(settings, "PLUGCHAT", None), self._built
        # The same objects are equal at once: this costs the same for any number of accounts.
        if built[0] is not value or built[1] != value:
            built = self._built = (value, copy(value), Configured.from_setting(value))
        return getattr(built[2], name)


#: As the setting is at this moment.
app_settings = cast(Configured, _Live())
