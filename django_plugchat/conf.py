"""The ``PLUGCHAT`` setting, read live so that tests can override it. ``checks`` says what is wrong with it.

Override it as a whole: accounts that are changed in place are not noticed, since for that every callback would have to
look at all of them. Another dictionary is, also ``{**settings.PLUGCHAT}``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

DEFAULTS: dict[str, Any] = {
    "ACCOUNTS": {},
    "PUBLIC_URL": "",
    "API_URL": "https://www.plugchat.com.br/api/whatsapp",
    "API_TIMEOUT": 10,
    "MAX_BODY_BYTES": 65536,
    "MAX_REJECTED": 10000,
    "RETENTION_DAYS": 180,
    "DISPATCHER": "django_plugchat.tasks.enqueue",
    "DISPATCH_LEASE": 300,
    "DISPATCH_MAX_ATTEMPTS": 5,
}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def secret_id(secret: str) -> str:
    """Name a secret without telling it: the first 8 hex digits of its SHA-256."""
    return _digest(secret)[:8]


@dataclass(frozen=True)
class Account:
    """One entry of ``ACCOUNTS``. The first of ``webhook_secrets`` is registered, every one is accepted."""

    alias: str
    label: str
    token: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def from_setting(cls, alias: str, value: Any) -> Account:
        # A string where a list belongs would make each of its letters a secret: what the checks refuse opens nothing.
        options = value if isinstance(value, dict) else {}
        token, secrets = options.get("TOKEN"), options.get("WEBHOOK_SECRETS")
        return cls(
            alias=alias,
            label=options.get("LABEL") or alias,
            token=token if isinstance(token, str) else "",
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
    """All accounts, and which one a secret belongs to. Built once for each value of the setting."""

    def __init__(self, configured: Any) -> None:
        accounts = configured.get("ACCOUNTS") if isinstance(configured, dict) else None
        self.accounts = {
            alias: Account.from_setting(alias, value)
            for alias, value in (accounts.items() if isinstance(accounts, dict) else ())
            if isinstance(alias, str)
        }
        self._callers = {
            (digest := _digest(secret)): Caller(account.alias, digest[:8])
            for account in self.accounts.values()
            for secret in account.webhook_secrets
        }
        #: Every secret and token: what no log may show.
        self.confidential = frozenset(
            text for account in self.accounts.values() for text in (*account.webhook_secrets, account.token) if text
        )

    def caller(self, secret: str) -> Caller | None:
        # By the digest, so that the time taken tells nothing of a secret and does not grow with their number.
        return self._callers.get(_digest(secret))


class AppSettings:
    # Compared by identity, which costs the same for any number of accounts. Kept together with what was built from it,
    # so that a thread never pairs one with the other's.
    _indexed: tuple[Any, AccountIndex] | None = None

    @property
    def configured(self) -> Any:
        return getattr(settings, "PLUGCHAT", None)

    def _get(self, name: str) -> Any:
        configured = self.configured
        return configured.get(name, DEFAULTS[name]) if isinstance(configured, dict) else DEFAULTS[name]

    @property
    def index(self) -> AccountIndex:
        configured, indexed = self.configured, self._indexed
        if indexed is None or indexed[0] is not configured:
            indexed = self._indexed = (configured, AccountIndex(configured))
        return indexed[1]

    @property
    def accounts(self) -> dict[str, Account]:
        return self.index.accounts

    @property
    def public_url(self) -> str:
        url: str = self._get("PUBLIC_URL") or ""
        return url

    @property
    def api_url(self) -> str:
        url: str = self._get("API_URL")
        return url

    @property
    def api_timeout(self) -> float:
        """Seconds for one attempt, from connecting to the last byte."""
        timeout: float = self._get("API_TIMEOUT")
        return timeout

    @property
    def max_body_bytes(self) -> int:
        """Of a callback, as sent and after decompression."""
        limit: int = self._get("MAX_BODY_BYTES")
        return limit

    @property
    def max_rejected(self) -> int:
        """Rejected callbacks kept per account."""
        limit: int = self._get("MAX_REJECTED")
        return limit

    @property
    def retention_days(self) -> int | None:
        """None keeps everything."""
        days: int | None = self._get("RETENTION_DAYS")
        return days

    @property
    def dispatcher(self) -> str:
        """Dotted path of what is called with the primary key of an event to dispatch."""
        path: str = self._get("DISPATCHER")
        return path

    @property
    def dispatch_lease(self) -> float:
        """Seconds an attempt may take before it counts as dead."""
        lease: float = self._get("DISPATCH_LEASE")
        return lease

    @property
    def dispatch_max_attempts(self) -> int:
        attempts: int = self._get("DISPATCH_MAX_ATTEMPTS")
        return attempts

    def label(self, alias: str) -> str:
        """What people read of an account, also of one that is no longer configured."""
        account = self.accounts.get(alias)
        return account.label if account else alias


app_settings = AppSettings()
