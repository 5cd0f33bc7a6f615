"""What users write, as they would write it: it runs here, and mypy --strict checks it in the lint step."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.db.models import QuerySet

from django_plugchat import dispatch
from django_plugchat.client import (
    PlugChatAuthError,
    PlugChatClient,
    PlugChatError,
    PlugChatRequestError,
    PlugChatUnavailable,
)
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.signals import delivery_recorded
from django_plugchat.testing import delivery_callback, post_callback

told: list[str] = []


def tell(sender: type[DeliveryEvent], event: DeliveryEvent, **kwargs: Any) -> None:
    if event.outcome == DeliveryEvent.Outcome.FAILED:
        reason: str = event.error_code or event.error
        told.append(f"{event.custom_id}: {reason}")


def failures_of(alias: str, since: datetime) -> QuerySet[DeliveryEvent]:
    return DeliveryEvent.objects.for_account(alias).failed().filter(received_at__gte=since)


def replay_all() -> list[DeliveryEvent]:
    return [event for rejected in RejectedCallback.objects.all() if (event := rejected.replay())]


@pytest.mark.django_db
def test_a_users_receiver_and_queries() -> None:
    delivery_recorded.connect(tell, sender=DeliveryEvent)
    try:
        assert post_callback(customId="PED-2").json() == {"status": "recorded"}
        response = post_callback(delivery_callback(customId="PED-1", error="Timeout on send message"))
    finally:
        delivery_recorded.disconnect(tell, sender=DeliveryEvent)
    assert response.json() == {"status": "recorded"}
    assert told == ["PED-1: Timeout on send message"]
    event: DeliveryEvent = DeliveryEvent.objects.for_custom_id("PED-1").get()
    assert list(failures_of("default", event.received_at)) == [event]
    assert dispatch.deliver(event.pk) is None
    assert replay_all() == []


def test_a_users_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlugChatClient, "backoff", 0)
    client = PlugChatClient(token="a-token", base_url="http://127.0.0.1:9", timeout=1)
    kinds: tuple[type[PlugChatError], ...] = (PlugChatAuthError, PlugChatRequestError, PlugChatUnavailable)
    with pytest.raises(kinds) as raised:
        client.update_delivery_webhook("https://example.com/plugchat/callback/secret/")
    assert "127.0.0.1" in str(raised.value)
