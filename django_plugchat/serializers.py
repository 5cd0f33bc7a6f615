"""The provider's JSON to the field values of a ``DeliveryEvent``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ParseError

from django_plugchat.models import DeliveryEvent
from django_plugchat.parsers import UNSTORABLE_CHARACTERS, storable

#: The other types that the provider's pages list. An operator who points every webhook at one URL gets them here.
OTHER_CALLBACK_TYPES = frozenset(
    {
        "MessageStatusCallback",
        "ReceivedCallback",
        "PresenceChatCallback",
        "ConnectedCallback",
        "DisconnectedCallback",
    }
)
DELIVERY_CALLBACK = "DeliveryCallback"

_EARLIEST = datetime(2009, 1, 1, tzinfo=UTC).timestamp()  # WhatsApp's first year
_DAY = 24 * 60 * 60
_FIRST_MILLISECONDS = 10**11  # as seconds the year 5138, as milliseconds 1973


class KeyField(serializers.Field[Any, Any, Any, Any]):
    """A key of the callback. What else DRF asks a field (read-only, partial, null) takes as long as the validation."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data is not serializers.empty:
            return self.to_internal_value(data)
        if self.required:
            self.fail("required")
        return self.default


class TextOrIntegerField(KeyField):
    """An id, kept to the letter. The provider documents strings; integers are taken as their digits."""

    default_error_messages = {
        "invalid": _("Not a string or an integer."),
        "blank": _("This field may not be blank."),
        "characters": _("Contains a character that can't be part of it."),
        "max_length": _("Ensure this field has no more than {max_length} characters."),
    }

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        self.max_length = max_length
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, int) and not isinstance(data, bool):
            data = str(data)
        if not isinstance(data, str):
            self.fail("invalid")
        if self.required and not data.strip():
            self.fail("blank")
        if len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        if UNSTORABLE_CHARACTERS.search(data):
            self.fail("characters")
        return data


class AnyJSONField(KeyField):
    """``error`` and ``errorCode``: strings in the provider's examples, kept whatever they are."""

    def to_internal_value(self, data: Any) -> Any:
        return storable(data)


class MommentField(KeyField):
    """Milliseconds since the epoch, or seconds on the provider's older pages. None where it can't be a true time."""

    def to_internal_value(self, data: Any) -> datetime | None:
        if not isinstance(data, int) or isinstance(data, bool):
            return None
        # Bounded before the division: an integer of 1,000 digits is no float.
        if not _EARLIEST <= data <= 10**14:
            return None
        seconds = data / 1000 if data >= _FIRST_MILLISECONDS else data
        if not _EARLIEST <= seconds <= time.time() + _DAY:
            return None
        moment = datetime.fromtimestamp(seconds, tz=UTC)
        return moment if settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())


class DeliveryCallbackSerializer(serializers.Serializer[DeliveryEvent]):
    """Validates one ``DeliveryCallback``. Source of the fields: the provider's page "Ao enviar" (on-message-send)
    for the first four, its live traffic for the rest. Unknown keys are left to the payload.
    """

    phone = TextOrIntegerField(max_length=64)
    zaapId = TextOrIntegerField(source="zaap_id", max_length=255)  # noqa: N815
    type = serializers.ChoiceField(
        choices=[DELIVERY_CALLBACK], error_messages={"invalid_choice": _("Not “DeliveryCallback”.")}
    )
    customId = TextOrIntegerField(source="custom_id", max_length=255, default="")  # noqa: N815
    messageId = TextOrIntegerField(source="message_id", max_length=255, default="")  # noqa: N815
    instanceId = TextOrIntegerField(source="instance_id", max_length=255, default="")  # noqa: N815
    error = AnyJSONField(default="")
    errorCode = AnyJSONField(source="error_code", default="")  # noqa: N815
    momment = MommentField(source="occurred_at", default=None)


# Shared by all requests: an instance per request would deep-copy every field, a third of the view's time.
_SERIALIZER = DeliveryCallbackSerializer()


def other_type(value: Any) -> str:
    """The ``type`` of a callback that is none of ours; "" for one to be recorded or refused."""
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) and kind.strip() and kind != DELIVERY_CALLBACK else ""


def _text(error: Any) -> str:
    return error if isinstance(error, str) else json.dumps(error, ensure_ascii=False, sort_keys=True)


def _is_error(error: Any) -> bool:
    return error is not False and error != ""


def event_values(value: Any) -> dict[str, Any]:
    """Validate parsed JSON and return the values of the ``DeliveryEvent`` that it describes.

    Raises ParseError or ValidationError; neither says anything of the values.
    """
    if not isinstance(value, Mapping):
        raise ParseError(_("The body is not a JSON object."), code="not_object")
    payload = storable(value)
    given = {key: item for key, item in value.items() if item is not None}  # null is the same as absent
    values: dict[str, Any] = _SERIALIZER.to_internal_value(given)
    error, error_code = values["error"], values["error_code"]
    identity = [values[name] for name in ("phone", "zaap_id", "custom_id", "message_id", "instance_id", "type")]
    return {
        **values,
        "error": _text(error),
        "error_code": _text(error_code),
        # Not their texts: the object {"a": 1} and the string '{"a": 1}' are not the same error.
        "identity": [*identity, error, error_code],
        "outcome": DeliveryEvent.Outcome.FAILED.value
        if _is_error(error) or _is_error(error_code)
        else DeliveryEvent.Outcome.SENT.value,
        "payload": payload,
    }
