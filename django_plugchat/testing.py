"""For the tests of projects that use this app."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.db import router
from django.test import Client, TestCase
from django.urls import NoReverseMatch, reverse

from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.serializers import DELIVERY_CALLBACK

_AREA_CODES = ("11", "21", "31", "41", "44", "51", "61", "71", "81", "85")


def delivery_callback(**overrides: Any) -> dict[str, Any]:
    """A delivery callback as the provider sends it, about a message of its own.

    ``overrides`` are the provider's JSON keys: ``customId="123"``, ``error="Phone number does not exist"``.
    """
    # From the system's randomness: a test run that seeds its own would repeat the ids.
    return {
        "phone": f"55{secrets.choice(_AREA_CODES)}9{secrets.randbelow(10**8):08}",
        "zaapId": secrets.token_hex(16).upper(),
        "messageId": secrets.token_hex(16).upper(),
        "instanceId": "3B8D1E0F5A724C96A1D0E7F2B4C6985A",
        "type": DELIVERY_CALLBACK,
        "momment": time.time_ns() // 1_000_000,
        **overrides,
    }


def callback_path(account: str = "default") -> str:
    """The path that an account's callbacks go to, with its first secret. Raises ImproperlyConfigured."""
    accounts = app_settings.accounts
    if account not in accounts:
        known = ", ".join(repr(alias) for alias in accounts) or "none"
        raise ImproperlyConfigured(f"PLUGCHAT['ACCOUNTS'] has no account {account!r}. It has: {known}.")
    if not accounts[account].webhook_secrets:
        raise ImproperlyConfigured(f"The account {account!r} has no WEBHOOK_SECRETS in PLUGCHAT['ACCOUNTS'].")
    try:
        return reverse("plugchat:callback", args=[accounts[account].webhook_secrets[0]])
    except NoReverseMatch:
        # Its text may hold the secret.
        raise ImproperlyConfigured(
            'The callback has no URL. Put path("plugchat/", include("django_plugchat.urls")) in the URLconf.'
        ) from None


def post_callback(
    callback: Mapping[str, Any] | None = None,
    *,
    account: str = "default",
    client: Client | None = None,
    **overrides: Any,
) -> Any:
    """Post a callback to the view, as the provider does, and return the test client's response.

    Without ``callback`` it is a new ``delivery_callback``; ``overrides`` change its keys. When it returns, receivers
    of ``delivery_recorded`` have run, also in a ``TestCase`` and under pytest-django's ``db``, where nothing is ever
    committed. Raises ImproperlyConfigured when the account or its secret is missing.
    """
    body = delivery_callback(**overrides) if callback is None else {**callback, **overrides}
    path = callback_path(account)
    with TestCase.captureOnCommitCallbacks(using=router.db_for_write(DeliveryEvent), execute=True):
        return (client or Client()).post(
            path,
            json.dumps(body, cls=DjangoJSONEncoder),
            content_type="application/json",
            # The provider speaks HTTPS only: SECURE_SSL_REDIRECT must not answer first.
            secure=True,
        )
