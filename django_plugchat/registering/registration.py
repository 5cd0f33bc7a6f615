"""Registering URLs with PlugChat, keeping what was registered, and seeing whether it really calls."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone
from django.utils.translation import gettext

from django_plugchat.client import PlugChatClient
from django_plugchat.conf import Account
from django_plugchat.models import DeliveryEvent, Registration, RejectedCallback
from django_plugchat.provider.calls import DELIVERY_WEBHOOK, MESSAGE_STATUS_WEBHOOK, UPDATE_WEBHOOKS
from django_plugchat.redaction import mask_url
from django_plugchat.registering import addresses

#: PlugChat repeats a callback soon, if it does. Without a bound, each look would read the whole table: by
#: ``last_received_at`` there is no index.
_REPEATS_WITHIN = timedelta(days=7)


@dataclass(frozen=True)
class Call:
    """One request to PlugChat's API, by a name of ``provider``: URLs by PlugChat's names of the webhooks."""

    name: str
    urls: Mapping[str, str] = field(repr=False)

    def webhooks_by_url(self) -> dict[str, list[str]]:
        webhooks: dict[str, list[str]] = {}
        for webhook, url in self.urls.items():
            webhooks.setdefault(url, []).append(webhook)
        return webhooks


class Expected(NamedTuple):
    """Callbacks to an account by one of its secrets."""

    account: str
    secret_id: str


def classic_calls(url: str, *, with_status: bool) -> list[Call]:
    """Of the pages of 2022: one call for each webhook."""
    names = [DELIVERY_WEBHOOK, *([MESSAGE_STATUS_WEBHOOK] if with_status else [])]
    return [Call(name, {name: url}) for name in names]


def todays_keys(*, with_status: bool) -> tuple[str, ...]:
    """The keys of today's call that belong to this app."""
    return ("sendingMessage", "messageDeliveryError", *(("messageStatus",) if with_status else ()))


def describe(call: Call, account: Account) -> str:
    """For people: the URLs, without the secret."""
    described = []
    for url, webhooks in call.webhooks_by_url().items():
        secret_id = addresses.secret_id_in(url, account)
        text = gettext("%(url)s for %(webhooks)s")
        if secret_id:
            text = gettext("%(url)s (secret %(id)s) for %(webhooks)s")
        described.append(text % {"url": mask_url(url), "id": secret_id, "webhooks": ", ".join(webhooks)})
    return "; ".join(described)


def make(call: Call, client: PlugChatClient) -> None:
    """Raises PlugChatError."""
    if call.name == UPDATE_WEBHOOKS:
        client.update_webhooks(call.urls)
    elif call.name == MESSAGE_STATUS_WEBHOOK:
        client.update_message_status_webhook(call.urls[call.name])
    else:
        client.update_delivery_webhook(call.urls[call.name])


def note(call: Call, account: Account) -> None:
    """Keep that this call was made just now. Raises django.db.Error."""
    for webhook, url in call.urls.items():
        Registration.objects.for_writing().update_or_create(
            account=account.alias,
            webhook=webhook,
            defaults={"secret_id": addresses.secret_id_in(url, account), "registered_at": timezone.now()},
        )


def arrivals(
    expected: Iterable[Expected], *, since: datetime, seconds: float, pause: float = 1
) -> Iterator[tuple[Expected, bool]]:
    """Wait for one callback of each, and give it when it has come, with whether it was stored or else refused."""
    missing = list(expected)
    ends_at = time.monotonic() + seconds
    while True:
        for callback in list(missing):
            stored = _has_come(DeliveryEvent, callback, since)
            if stored or _has_come(RejectedCallback, callback, since):
                missing.remove(callback)
                yield callback, stored
        left = ends_at - time.monotonic()
        if not missing or left <= 0:
            return
        time.sleep(min(pause, left))


def _has_come(model: type[DeliveryEvent | RejectedCallback], callback: Expected, since: datetime) -> bool:
    return (
        model.objects.for_writing()
        .for_account(callback.account)
        .filter(
            secret_id=callback.secret_id,
            received_at__gte=since - _REPEATS_WITHIN,
            last_received_at__gte=since,
        )
        .exists()
    )
