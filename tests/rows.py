"""Rows as the view would have stored them, of any age and state."""

from datetime import datetime
from itertools import count
from typing import Any
from uuid import uuid4

from django.db.models import Model
from django.utils import timezone

from django_plugchat.conf import secret_id
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.phones.numbers import normalise
from django_plugchat.provider.errors import kind_of
from tests.payloads import EXAMPLE, SECRET

Status = DeliveryEvent.DispatchStatus

_numbers = count()


def event(**fields: Any) -> DeliveryEvent:
    """An event that no receiver was connected for."""
    return DeliveryEvent.objects.create(**_event_fields(**fields))


def events(number: int, **fields: Any) -> list[DeliveryEvent]:
    return DeliveryEvent.objects.bulk_create(DeliveryEvent(**_event_fields(**fields)) for _ in range(number))


def status(outcome: str, message_id: str, **fields: Any) -> DeliveryEvent:
    """What became of a message on WhatsApp."""
    return event(outcome=outcome, message_id=message_id, type="MessageStatusCallback", zaap_id="", **fields)


def _event_fields(*, received_at: datetime | None = None, **fields: Any) -> dict[str, Any]:
    received_at = received_at or timezone.now()
    number = next(_numbers)
    phone = fields.get("phone", EXAMPLE["phone"])
    failed = fields.get("outcome") == DeliveryEvent.Outcome.FAILED
    failure = kind_of(fields.get("error", ""), fields.get("error_code", "")) if failed else ""
    return {
        "account": "default",
        "secret_id": secret_id(SECRET),
        "zaap_id": f"Z{number}",
        "phone": phone,
        "phone_digits": normalise(phone),
        "participant_digits": normalise(fields.get("participant", "")),
        "type": EXAMPLE["type"],
        "outcome": DeliveryEvent.Outcome.SENT,
        "payload": {},
        "received_at": received_at,
        "last_received_at": received_at,
        "fingerprint": uuid4(),
        "failure": failure,
    } | fields


def left(model: type[Model] = DeliveryEvent) -> set[Any]:
    """The keys of the rows that were not deleted."""
    return set(model._default_manager.values_list("pk", flat=True))


def rejected(body: bytes = b"{}", *, received_at: datetime | None = None, **fields: Any) -> RejectedCallback:
    received_at = received_at or timezone.now()
    return RejectedCallback.objects.create(
        **{
            "account": "default",
            "secret_id": secret_id(SECRET),
            "received_at": received_at,
            "last_received_at": received_at,
            "reason": RejectedCallback.Reason.INVALID,
            "body": body,
            "fingerprint": uuid4(),
        }
        | fields
    )


def assert_nothing_stored() -> None:
    assert not DeliveryEvent.objects.exists()
    assert not RejectedCallback.objects.exists()
