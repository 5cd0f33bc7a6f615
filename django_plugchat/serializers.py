"""The provider's JSON to the callbacks that it holds."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ParseError

from django_plugchat import times
from django_plugchat.payloads import UNSTORABLE_CHARACTERS, storable
from django_plugchat.provider.callbacks import (
    CONVERSATION_KEYS,
    DELIVERY_CALLBACK,
    INCOMING_STATUSES,
    MAX_STATUS_IDS,
    MESSAGE_STATUS_CALLBACK,
    OTHER_CALLBACK_TYPES,
    OUTCOME_BY_STATUS,
)

_EARLIEST = 1230768000  # 2009, WhatsApp's first year
_DAY = 24 * 60 * 60
_FIRST_MILLISECONDS = 10**11  # as seconds the year 5138, as milliseconds 1973
_LATEST_MILLISECONDS = 10**14

_FINGERPRINTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Callback:
    """What a callback says about one message. The names are those of ``DeliveryEvent``'s fields."""

    type: str
    outcome: str
    payload: Any = field(repr=False)
    #: JSON values that make it the same event when they are said again.
    identity: tuple[Any, ...] = field(repr=False)
    phone: str = field(default="", repr=False)
    participant: str = field(default="", repr=False)
    zaap_id: str = field(default="", repr=False)
    custom_id: str = field(default="", repr=False)
    message_id: str = field(default="", repr=False)
    instance_id: str = field(default="", repr=False)
    error: str = field(default="", repr=False)
    error_code: str = field(default="", repr=False)
    occurred_at: datetime | None = None

    def fingerprint(self, account: str) -> UUID:
        """Over what makes an event the same one. Stored rows depend on it: it never changes."""
        digest = hashlib.sha256(_FINGERPRINTED.encode([account, *self.identity]).encode()).digest()
        # MariaDB takes no UUID without the bits of a version.
        return UUID(bytes=digest[:16], version=5)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A callback that is not for this app: its type or status ("" for a conversation), and if PlugChat documents it."""

    name: str = field(repr=False)
    is_known: bool


class KeyField(serializers.Field[Any, Any, Any, Any]):
    """A key of the callback. What else DRF asks a field (read-only, partial, null) takes as long as the validation."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data is not serializers.empty:
            return self.to_internal_value(data)
        if self.required:
            self.fail("required")
        return self.default


class ChoiceField(KeyField, serializers.ChoiceField):
    """One of a few strings."""


class TextOrIntegerField(KeyField):
    """An id or a number, kept to the letter. The provider documents strings; integers are taken as their digits."""

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


class MessageIdsField(KeyField):
    """The messageIds that a status is about, each once, with the JSON value that it came as."""

    default_error_messages = {
        "not_a_list": _("Not a list."),
        "empty": _("This list may not be empty."),
        "max_items": _("Ensure this list has no more than {max_items} items."),
    }
    item = TextOrIntegerField(max_length=255)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, list):
            self.fail("not_a_list")
        if not data:
            self.fail("empty")
        if len(data) > MAX_STATUS_IDS:
            self.fail("max_items", max_items=MAX_STATUS_IDS)
        return {self.item.to_internal_value(given): given for given in data}


class AnyJSONField(KeyField):
    """``error`` and ``errorCode``: strings in the provider's examples, kept whatever they are."""

    def to_internal_value(self, data: Any) -> Any:
        return storable(data)


class MommentField(KeyField):
    """Milliseconds since the epoch, or seconds on the provider's older pages. None where it can't be a true time."""

    def to_internal_value(self, data: Any) -> datetime | None:
        if isinstance(data, str) and len(data) < 20 and data.isascii() and data.isdecimal():
            data = int(data)
        if not isinstance(data, int) or isinstance(data, bool):
            return None
        # Bounded before the division: an integer of 1,000 digits is no float.
        if not _EARLIEST <= data <= _LATEST_MILLISECONDS:
            return None
        seconds = data / 1000 if data >= _FIRST_MILLISECONDS else data
        return times.from_timestamp(seconds) if _EARLIEST <= seconds <= time.time() + _DAY else None


class CallbackSerializer(serializers.Serializer[Any]):
    """Keys and their fields, and no more: DRF's own loop also looks for methods and nested sources of each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = tuple((key, str(field.source), field.run_validation) for key, field in self.fields.items())

    def to_internal_value(self, data: Mapping[str, Any]) -> dict[str, Any]:
        values, errors = {}, {}
        for key, source, validated in self.keys:
            try:
                values[source] = validated(data.get(key, serializers.empty))
            except serializers.ValidationError as error:
                errors[key] = error.detail
        if errors:
            raise serializers.ValidationError(errors)
        return values


class DeliveryCallbackSerializer(CallbackSerializer):
    """Validates one ``DeliveryCallback``. Source of the fields: the provider's page "Ao enviar" (on-message-send)
    for the first four, live traffic for the rest. Unknown keys are left to the payload.
    """

    phone = TextOrIntegerField(max_length=64)
    zaapId = TextOrIntegerField(source="zaap_id", max_length=255)  # noqa: N815
    type = ChoiceField(choices=[DELIVERY_CALLBACK], error_messages={"invalid_choice": _("Not “DeliveryCallback”.")})
    customId = TextOrIntegerField(source="custom_id", max_length=255, default="")  # noqa: N815
    messageId = TextOrIntegerField(source="message_id", max_length=255, default="")  # noqa: N815
    instanceId = TextOrIntegerField(source="instance_id", max_length=255, default="")  # noqa: N815
    error = AnyJSONField(default="")
    errorCode = AnyJSONField(source="error_code", default="")  # noqa: N815
    momment = MommentField(source="occurred_at", default=None)


class MessageStatusCallbackSerializer(CallbackSerializer):
    """Validates one ``MessageStatusCallback``. Source: Z-API's documentation; its old page names ``id`` for ``ids``."""

    status = ChoiceField(
        choices=list(OUTCOME_BY_STATUS),
        # DRF's own message would quote the value.
        error_messages={"invalid_choice": _("Not the name of a status.")},
    )
    ids = MessageIdsField()
    phone = TextOrIntegerField(max_length=64, default="")
    participant = TextOrIntegerField(max_length=64, default="")
    instanceId = TextOrIntegerField(source="instance_id", max_length=255, default="")  # noqa: N815
    momment = MommentField(source="occurred_at", default=None)


# Shared by all requests: an instance per request would deep-copy every field, a third of the view's time.
_DELIVERY = DeliveryCallbackSerializer()
_STATUS = MessageStatusCallbackSerializer()

_STATUS_KEYS = ("type", "status", "phone", "participant", "instanceId", "momment")
_LONGEST_NAMED = 255


def ignored(value: Any) -> Ignored | None:
    """What a callback is that is none of ours; None for one to be recorded or refused."""
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    if kind is None and not CONVERSATION_KEYS.isdisjoint(value):
        return Ignored("", is_known=True)
    if not isinstance(kind, str) or not kind.strip() or kind == DELIVERY_CALLBACK:
        return None
    if kind != MESSAGE_STATUS_CALLBACK:
        return Ignored(kind, is_known=kind in OTHER_CALLBACK_TYPES)
    status = value.get("status")
    if not isinstance(status, str) or not status.strip() or status in OUTCOME_BY_STATUS:
        return None
    return Ignored(status, is_known=status in INCOMING_STATUSES)


def read(value: Any) -> tuple[Callback, ...]:
    """Validate parsed JSON and return what it says, for each message.

    Raises ParseError or ValidationError; neither says anything of the values.
    """
    if not isinstance(value, Mapping):
        raise ParseError(_("The body is not a JSON object."), code="not_object")
    payload = storable(value)
    given = {key: item for key, item in value.items() if item is not None}  # null is the same as absent
    if given.get("type") == MESSAGE_STATUS_CALLBACK:
        return _read_status(given, payload)
    return (_read_delivery(given, payload),)


def _read_delivery(given: dict[str, Any], payload: Any) -> Callback:
    fields: dict[str, Any] = _DELIVERY.to_internal_value(given)
    error, error_code = fields.pop("error"), fields.pop("error_code")
    identity = [fields[name] for name in ("phone", "zaap_id", "custom_id", "message_id", "instance_id", "type")]
    return Callback(
        **fields,
        error=_text(error),
        error_code=_text(error_code),
        # The JSON itself, not its text: the object {"a": 1} and the string '{"a": 1}' are not the same error.
        identity=(*identity, error, error_code),
        outcome="failed" if _is_error(error) or _is_error(error_code) else "sent",
        payload=payload,
    )


def _read_status(given: dict[str, Any], payload: Any) -> tuple[Callback, ...]:
    if "ids" not in given and "id" in given:
        given = given | {"ids": [given["id"]]}
    fields: dict[str, Any] = _STATUS.to_internal_value(given)
    ids = fields.pop("ids")
    outcome = OUTCOME_BY_STATUS[fields.pop("status")]
    kind = MESSAGE_STATUS_CALLBACK
    # What was checked to be short: it is stored once for each message.
    named = {key: payload[key] for key in _STATUS_KEYS if key in payload and len(str(payload[key])) <= _LONGEST_NAMED}
    return tuple(
        Callback(
            **fields,
            type=kind,
            outcome=outcome,
            message_id=message_id,
            identity=(fields["phone"], fields["participant"], message_id, fields["instance_id"], kind, outcome),
            payload=payload if len(ids) == 1 else named | {"ids": [id_as_given]},
        )
        for message_id, id_as_given in ids.items()
    )


def _text(error: Any) -> str:
    return error if isinstance(error, str) else json.dumps(error, ensure_ascii=False, sort_keys=True)


def _is_error(error: Any) -> bool:
    return error is not False and error != ""
