"""The ``PLUGCHAT`` setting, read live so that tests can override it. ``checks`` says what is wrong with it.

Changing PLUGCHAT in place has no effect; assign a new dict. Else every callback would have to look at all accounts.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.utils.module_loading import import_string

DEFAULTS: dict[str, Any] = {
    "ACCOUNTS": {},
    "PUBLIC_URL": "",
    "API_URL": "https://www.plugchat.com.br/api/whatsapp",
    "API_TIMEOUT": 10,
    "TOKEN_SOURCE": None,
    "MAX_BODY_BYTES": 65536,
    "MAX_REJECTED": 10000,
    "RETENTION_DAYS": 180,
    "SILENT_AFTER_HOURS": 36,
    "DISPATCHER": "django_plugchat.tasks.enqueue",
    "DISPATCH_LEASE": 300,
    "DISPATCH_MAX_ATTEMPTS": 5,
    "SPOOL_DIR": None,
    "ADMIN_ACCOUNTS": None,
}

_FUNCTIONS = {"TOKEN_SOURCE", "ADMIN_ACCOUNTS"}

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
    label: str
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
        texts = {key: text for key, text in options.items() if isinstance(text, str)}
        secrets = options.get("WEBHOOK_SECRETS")
        return cls(
            alias=alias,
            # May be lazy: whoever stores or compares it needs a string.
            label=str(options.get("LABEL") or alias),
            provider=texts.get("PROVIDER") or PLUGCHAT,
            instance=texts.get("INSTANCE", ""),
            api_url=texts.get("API_URL", ""),
            token=texts.get("TOKEN", ""),
            client_token=texts.get("CLIENT_TOKEN", ""),
            # Of a string where a list belongs, each letter would be a secret.
            webhook_secrets=tuple(
                secret
                for secret in (secrets if isinstance(secrets, list | tuple) else ())
                if secret and isinstance(secret, str)
            ),
        )


@dataclass(frozen=True)
class Caller:
    """Who calls, as a secret tells it."""

    account: str
    secret_id: str


class AccountIndex:
    """The accounts of the setting, and which one a secret belongs to. Built once for each value of the setting."""

    def __init__(self, configured: Any) -> None:
        accounts = configured.get("ACCOUNTS") if isinstance(configured, dict) else None
        self.accounts = {
            alias: Account.from_setting(alias, value)
            for alias, value in (accounts.items() if isinstance(accounts, dict) else ())
            if isinstance(alias, str)
        }
        self.callers = {
            (digest := digest_of(secret)): Caller(account.alias, digest[:8])
            for account in self.accounts.values()
            for secret in account.webhook_secrets
        }
        #: Every secret and token: what no log may show.
        self.confidential = frozenset(
            text
            for account in self.accounts.values()
            for text in (*account.webhook_secrets, account.token, account.client_token)
            if text
        )


class AppSettings:
    """Each key of PLUGCHAT under its name in small letters; a dotted path of a function as that function."""

    public_url: str
    api_url: str
    api_timeout: float
    max_body_bytes: int
    max_rejected: int
    retention_days: int | None
    silent_after_hours: float
    dispatcher: str
    dispatch_lease: float
    dispatch_max_attempts: int
    spool_dir: str | Path | None
    token_source: Callable[[str], Any] | None
    admin_accounts: Callable[[Any], Any] | None

    # Compared by identity, which costs the same for any number of accounts. Kept together with what was built from it,
    # so that a thread never pairs one with the other's.
    _indexed: tuple[Any, AccountIndex] | None = None

    def __getattr__(self, name: str) -> Any:
        key = name.upper()
        if key not in DEFAULTS:
            raise AttributeError(name)
        configured = getattr(settings, "PLUGCHAT", None)
        value = configured.get(key, DEFAULTS[key]) if isinstance(configured, dict) else DEFAULTS[key]
        return import_string(value) if value and key in _FUNCTIONS else value

    @property
    def index(self) -> AccountIndex:
        configured, indexed = getattr(settings, "PLUGCHAT", None), self._indexed
        if indexed is None or indexed[0] is not configured:
            indexed = self._indexed = (configured, AccountIndex(configured))
        return indexed[1]

    @property
    def accounts(self) -> dict[str, Account]:
        """Those of the setting. ``django_plugchat.accounts`` knows those of the database as well."""
        return self.index.accounts


app_settings = AppSettings()
