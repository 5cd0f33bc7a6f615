"""The ``PLUGCHAT`` setting, read live so that tests can override it. ``checks`` says what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare

DEFAULTS: dict[str, Any] = {
    "ACCOUNTS": {},
    "PUBLIC_URL": "",
    "API_URL": "https://www.plugchat.com.br/api/whatsapp",
    "API_TIMEOUT": 10,
    "MAX_BODY_BYTES": 65536,
    "MAX_REJECTED": 10000,
    "RETENTION_DAYS": 180,
    "DISPATCHER": "django_plugchat.dispatch.enqueue",
    "DISPATCH_LEASE": 300,
    "DISPATCH_MAX_ATTEMPTS": 5,
}


def secret_id(secret: str) -> str:
    """Name a secret without telling it: the first 8 hex digits of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Account:
    """One entry of ``ACCOUNTS``. The first of ``webhook_secrets`` is registered, every one is accepted."""

    alias: str
    token: str
    webhook_secrets: tuple[str, ...]
    label: str

    @classmethod
    def from_setting(cls, alias: str, value: Any) -> Account:
        # A string where a list belongs would make each of its letters a secret: what the checks refuse opens nothing.
        options = value if isinstance(value, dict) else {}
        token, secrets = options.get("TOKEN"), options.get("WEBHOOK_SECRETS")
        return cls(
            alias=alias,
            token=token if isinstance(token, str) else "",
            webhook_secrets=tuple(
                secret
                for secret in (secrets if isinstance(secrets, list | tuple) else ())
                if secret and isinstance(secret, str)
            ),
            label=options.get("LABEL") or alias,
        )


class AppSettings:
    @property
    def configured(self) -> Any:
        return getattr(settings, "PLUGCHAT", {})

    def _get(self, name: str) -> Any:
        configured = self.configured
        return configured.get(name, DEFAULTS[name]) if isinstance(configured, dict) else DEFAULTS[name]

    @property
    def accounts(self) -> dict[str, Account]:
        accounts = self._get("ACCOUNTS")
        if not isinstance(accounts, dict):
            return {}
        return {
            alias: Account.from_setting(alias, value) for alias, value in accounts.items() if isinstance(alias, str)
        }

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
        """Seconds."""
        timeout: float = self._get("API_TIMEOUT")
        return timeout

    @property
    def max_body_bytes(self) -> int:
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

    def account_for_secret(self, secret: str) -> Account | None:
        """The account that a callback with this secret comes from.

        Compares with every configured secret, each in constant time, so that the time taken tells nothing.
        """
        found = None
        for account in self.accounts.values():
            for known in account.webhook_secrets:
                if constant_time_compare(secret, known):
                    found = account
        return found

    def confidential(self) -> Iterator[str]:
        """Every configured secret and token: what no log may show."""
        for account in self.accounts.values():
            yield from account.webhook_secrets
            if account.token:
                yield account.token


app_settings = AppSettings()
