"""For the tests of projects that use this app."""

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any
from unittest import mock

from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.db import router
from django.test import Client, TestCase

from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK, MESSAGE_STATUS_CALLBACK
from django_plugchat.registering import addresses
from django_plugchat.signals import delivery_recorded

_INSTANCE = "3B8D1E0F5A724C96A1D0E7F2B4C6985A"


def delivery_callback(**overrides: Any) -> dict[str, Any]:
    """A new message's delivery callback; ``overrides`` are the provider's keys: ``customId="123"``, ``error="…"``."""
    return _callback({"type": DELIVERY_CALLBACK, "zaapId": _message_id(), "messageId": _message_id()}, overrides)


def message_status_callback(**overrides: Any) -> dict[str, Any]:
    """That a message was read; ``overrides`` are the provider's keys: ``status="RECEIVED"``, ``ids=["3EB0…"]``."""
    said = {"status": "READ", "ids": [_message_id()], "phoneDevice": 0, "isGroup": False}
    return _callback({"type": MESSAGE_STATUS_CALLBACK, **said}, overrides)


# From the system's randomness: a test run that seeds its own would repeat the ids.
def _message_id() -> str:
    return secrets.token_hex(16).upper()


def _callback(own: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    phone = f"55119{secrets.randbelow(10**8):08}"
    of_all = {"phone": phone, "instanceId": _INSTANCE, "momment": time.time_ns() // 1_000_000}
    return _changed({**of_all, **own}, overrides)


def _changed(callback: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    for name in overrides:
        # A field of the model would be taken for a key that the provider has added.
        if "_" in name:
            raise TypeError(f"{name!r} is no key of the provider, whose keys are written like customId and errorCode.")
    return {**callback, **overrides}


def callback_path(account: str = "default") -> str:
    """The path that an account's callbacks go to, with its first secret. Raises ImproperlyConfigured."""
    configured = app_settings.accounts.get(account)
    if configured is None or not configured.webhook_secrets:
        raise ImproperlyConfigured(f"PLUGCHAT['ACCOUNTS'] has no account {account!r} with WEBHOOK_SECRETS.")
    path = addresses.callback_path(configured.webhook_secrets[0])
    if path is None:
        raise ImproperlyConfigured(f"The callback has no URL. Put {addresses.URLCONF_LINE} in the URLconf.")
    return path


def post_callback(
    callback: Mapping[str, Any] | None = None,
    *,
    account: str = "default",
    client: Client | None = None,
    path: str | None = None,
    raise_receiver_exceptions: bool = False,
    **overrides: Any,
) -> Any:
    """Post a callback to the view, as the provider does, and return the test client's response.

    Without ``callback`` it is a new ``delivery_callback``; ``overrides`` change its keys. When it returns, receivers
    of ``delivery_recorded`` have run, also in a ``TestCase`` and under pytest-django's ``db``, where nothing is ever
    committed; unless a queue has them. What a receiver raises changes no answer to the provider: the event says what.
    With ``raise_receiver_exceptions`` it is raised here as well. ``path`` is for a callback in the URLconf of a host or
    tenant. Without it, ImproperlyConfigured is raised when the account or its secret is missing.
    """
    body = _changed(delivery_callback() if callback is None else callback, overrides)
    path = callback_path(account) if path is None else path
    exceptions: list[Exception] = []
    send_robust = delivery_recorded.send_robust

    def noting(*args: Any, **kwargs: Any) -> Any:
        results = send_robust(*args, **kwargs)
        exceptions.extend(result for _receiver, result in results if isinstance(result, Exception))
        return results

    with (
        mock.patch.object(delivery_recorded, "send_robust", noting),
        TestCase.captureOnCommitCallbacks(using=router.db_for_write(DeliveryEvent), execute=True),
    ):
        # The provider speaks HTTPS only: SECURE_SSL_REDIRECT must not answer first.
        response = (client or Client()).post(
            path, json.dumps(body, cls=DjangoJSONEncoder), content_type="application/json", secure=True
        )
    if exceptions and raise_receiver_exceptions:
        raise exceptions[0]
    return response
