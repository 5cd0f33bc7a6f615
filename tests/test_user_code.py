"""What users write, as they would write it: it runs here, and mypy --strict checks it in the lint step."""

from datetime import datetime
from typing import Any

import pytest
from django.db.models import QuerySet

from django_plugchat import dispatch, recording
from django_plugchat.client import (
    PlugChatAuthError,
    PlugChatClient,
    PlugChatError,
    PlugChatRequestError,
    PlugChatUnavailable,
)
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.provider.errors import Failure
from django_plugchat.signals import TellAgain, delivery_recorded
from django_plugchat.testing import delivery_callback, message_status_callback, post_callback
from django_plugchat.upkeep import sweeps

#: What the project has sent, by messageId.
messages: dict[str, str] = {}
send_again: list[str] = []


def note(sender: type[DeliveryEvent], event: DeliveryEvent, **kwargs: Any) -> None:
    if event.message_id not in messages:
        raise TellAgain(seconds=30)
    progress = DeliveryEvent.objects.for_account(event.account).progress(event.message_id)
    messages[event.message_id] = progress[event.message_id]
    if event.is_temporary:
        send_again.append(event.message_id)


def failures_of(alias: str, since: datetime) -> QuerySet[DeliveryEvent]:
    return DeliveryEvent.objects.for_account(alias).failed().filter(received_at__gte=since)


def progress_of_numbers(numbers: list[int]) -> dict[int, str]:
    """As a project does that keeps the ids as integers."""
    return DeliveryEvent.objects.progress(*numbers)


def replay_all() -> list[DeliveryEvent]:
    return [event for rejected in RejectedCallback.objects.all() for event in recording.replay(rejected) or ()]


def work_off(pk: int) -> None:
    """As the worker of a queue does, which has a way of its own to say that a job failed."""
    if dispatch.deliver(pk) is dispatch.Attempt.FAILED:
        raise RuntimeError


@pytest.mark.django_db
def test_a_users_receiver_and_queries() -> None:
    messages.clear()
    messages["M1"] = messages["M2"] = ""
    delivery_recorded.connect(note, sender=DeliveryEvent)
    try:
        assert post_callback(messageId="M1", customId="PED-1").json() == {"status": "recorded"}
        post_callback(message_status_callback(ids=["M1"], status="READ"))
        post_callback(message_status_callback(ids=["M1"], status="RECEIVED"))
        response = post_callback(delivery_callback(messageId="M2", error="Timeout on send message"))
        with pytest.raises(TellAgain):
            post_callback(messageId="M3", raise_receiver_exceptions=True)
        messages["M3"] = ""
        swept = sweeps.sweep(now=True)
    finally:
        delivery_recorded.disconnect(note, sender=DeliveryEvent)
    assert response.json() == {"status": "recorded"}
    assert (swept.taken, swept.done) == (1, 1)
    assert messages == {"M1": "read", "M2": "failed", "M3": "sent"}
    assert send_again == ["M2"]
    event: DeliveryEvent = DeliveryEvent.objects.for_message("M2").get()
    reason: str = event.failure
    assert reason == Failure.TEMPORARY
    assert list(failures_of("default", event.received_at)) == [event]
    assert DeliveryEvent.objects.for_custom_id("PED-1").get().message_id == "M1"
    assert replay_all() == []


@pytest.mark.django_db
def test_a_users_ids_that_are_integers() -> None:
    post_callback(zaapId="7", messageId="9")
    assert progress_of_numbers([7, 9, 11]) == {7: "sent", 9: "sent"}


@pytest.mark.django_db
def test_a_users_worker() -> None:
    def fail(event: DeliveryEvent, **kwargs: Any) -> None:
        raise LookupError

    delivery_recorded.connect(fail, sender=DeliveryEvent)
    try:
        post_callback()
        DeliveryEvent.objects.update(dispatch_due_at="2026-01-01T00:00Z")
        with pytest.raises(RuntimeError):
            work_off(DeliveryEvent.objects.get().pk)
        work_off(0)
    finally:
        delivery_recorded.disconnect(fail, sender=DeliveryEvent)


def test_a_users_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlugChatClient, "pauses", ())
    client = PlugChatClient(token="a-token", base_url="http://127.0.0.1:9", timeout=1)
    kinds: tuple[type[PlugChatError], ...] = (PlugChatAuthError, PlugChatRequestError, PlugChatUnavailable)
    for register in (client.update_delivery_webhook, client.update_message_status_webhook):
        with pytest.raises(kinds) as raised:
            register("https://example.com/plugchat/callback/secret/")
        assert "127.0.0.1" in str(raised.value)
