"""The ``PLUGCHAT`` setting, read live so that tests can override it. ``checks`` says what is wrong with it.

Changing PLUGCHAT in place has no effect; assign a new dict. Else every callback would have to look at all accounts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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
    def from_setting(cls, alias: str, value: Any) -> Account:
        options = value if isinstance(value, dict) else {}
        secrets = options.get("WEBHOOK_SECRETS")
        return cls(
            alias=alias,
            # May be lazy: whoever stores or compares it needs a string.
            label=str(options.get("LABEL") or alias),
            provider=_text(options.get("PROVIDER")) or PLUGCHAT,
            instance=_text(options.get("INSTANCE")),
            api_url=_text(options.get("API_URL")),
            token=_text(options.get("TOKEN")),
            client_token=_text(options.get("CLIENT_TOKEN")),
            # Of a string where a list belongs, each letter would be a secret.
            webhook_secrets=tuple(filter(None, map(_text, secrets if isinstance(secrets, list | tuple) else ()))),
        )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


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

    def __repr__(self) -> str:
        return f"<AccountIndex of {len(self.accounts)} accounts>"


class AppSettings:
    """Each key of PLUGCHAT under its name in small letters."""

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

    # Compared by identity, which costs the same for any number of accounts. Kept together with what was built from it,
    # so that a thread never pairs one with the other's.
    _indexed: tuple[Any, AccountIndex] | None = None

    def __getattr__(self, name: str) -> Any:
        key = name.upper()
        if key not in DEFAULTS:
            raise AttributeError(name)
        configured = self.configured
        return configured.get(key, DEFAULTS[key]) if isinstance(configured, dict) else DEFAULTS[key]

    @property
    def configured(self) -> Any:
        return getattr(settings, "PLUGCHAT", None)

    @property
    def index(self) -> AccountIndex:
        configured, indexed = self.configured, self._indexed
        if indexed is None or indexed[0] is not configured:
            indexed = self._indexed = (configured, AccountIndex(configured))
        return indexed[1]

    @property
    def accounts(self) -> dict[str, Account]:
        """Those of the setting. ``django_plugchat.accounts`` knows those of the database as well."""
        return self.index.accounts

    @property
    def token_source(self) -> Callable[[str], Any] | None:
        """Alias to token, or to a dict with TOKEN and CLIENT_TOKEN, for accounts of the database."""
        return _imported(self.__getattr__("token_source"))

    @property
    def admin_accounts(self) -> Callable[[Any], Any] | None:
        """User to the aliases that this user sees, or None for all."""
        return _imported(self.__getattr__("admin_accounts"))

    @property
    def spool_dir(self) -> str | None:
        """A folder that keeps callbacks while the database is away; may be set as a Path."""
        folder = self.__getattr__("spool_dir")
        return str(folder) if folder else None

    def label(self, alias: str) -> str:
        """What people read of an account, also of one that is not in the setting."""
        account = self.accounts.get(alias)
        return account.label if account else alias


def _imported(path: str | None) -> Callable[[Any], Any] | None:
    return import_string(path) if path else None


app_settings = AppSettings()
