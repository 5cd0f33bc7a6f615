"""From the bytes of a callback to what it says: the one call for the view, a replay and the spool."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from rest_framework.exceptions import ErrorDetail, ParseError, ValidationError

from django_plugchat import payloads, times
from django_plugchat.provider import callbacks
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK, MESSAGE_STATUS_CALLBACK, OUTCOME_BY_STATUS
from django_plugchat.provider.errors import kind_of

_EARLIEST = 1230768000  # 2009, WhatsApp's first year
_DAY = 24 * 60 * 60
_FIRST_MILLISECONDS = 10**11  # as seconds the year 5138, as milliseconds 1973

_LONGEST_PHONE, _LONGEST_ID = 64, 255
#: How many times as long as the body an event may be, as JSON and text: databases keep some of it at greater length.
_MOST_GROWTH = 4

_FINGERPRINTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


@dataclass(repr=False)
class Callback:
    """What a callback says about one message. The names are those of ``DeliveryEvent``'s fields."""

    type: str
    outcome: str
    payload: Any
    phone: str = ""
    participant: str = ""
    zaap_id: str = ""
    custom_id: str = ""
    message_id: str = ""
    instance_id: str = ""
    error: str = ""
    error_code: str = ""
    failure: str = ""
    occurred_at: datetime | None = None

    def fingerprint(self, account: str) -> UUID:
        """Over what makes an event the same one. Stored rows depend on it: it never changes."""
        if self.type == DELIVERY_CALLBACK:
            # The JSON itself, not its text: the object {"a": 1} and the string '{"a": 1}' are not the same error.
            said = [self.phone, self.zaap_id, self.custom_id, self.message_id, self.instance_id, self.type]
            said += _errors(self.payload)
        else:
            said = [self.phone, self.participant, self.message_id, self.instance_id, self.type, self.outcome]
        return fingerprint_of(_FINGERPRINTED.encode([account, *said]).encode())


@dataclass(frozen=True)
class ConnectionReport:
    """That a WhatsApp instance is connected or disconnected, and since when (None where that is not said)."""

    instance_id: str = field(repr=False)
    is_connected: bool
    occurred_at: datetime | None


@dataclass(frozen=True)
class Ignored:
    """A callback that is not for this app."""

    #: Its type or status; "" where PlugChat or its engine documents it.
    unknown: str = field(default="", repr=False)
    #: A later version may know it.
    is_status: bool = False


def fingerprint_of(content: bytes) -> UUID:
    # MariaDB takes no UUID without the bits of a version.
    return UUID(bytes=hashlib.sha256(content).digest()[:16], version=5)


def read(body: bytes) -> Ignored | ConnectionReport | tuple[Callback, ...]:
    """What a callback says; for each message that it is about one ``Callback``.

    Raises ParseError or ValidationError; neither says anything of the values.
    """
    value = payloads.parse(body)
    if not isinstance(value, dict):
        raise ParseError(_("The body is not a JSON object."), code="not_object")
    if ignored := _ignored(value):
        return ignored
    payload = payloads.storable(value)
    given = {key: item for key, item in value.items() if item is not None}  # null is the same as absent
    kind = given.get("type")
    if kind == MESSAGE_STATUS_CALLBACK:
        return _read_status(given, payload)
    if isinstance(kind, str) and kind in callbacks.CONNECTION_CALLBACKS:
        return ConnectionReport(is_connected=callbacks.CONNECTION_CALLBACKS[kind], **_read_keys(given, _OF_CONNECTION))
    return (_read_delivery(given, payload, longest=_MOST_GROWTH * len(body)),)


def _ignored(value: dict[str, Any]) -> Ignored | None:
    """None if this callback should be recorded or rejected."""
    kind, status = value.get("type"), value.get("status")
    if kind is None and not callbacks.CONVERSATION_KEYS.isdisjoint(value):
        return Ignored()
    if not isinstance(kind, str) or not kind.strip() or kind in {DELIVERY_CALLBACK, *callbacks.CONNECTION_CALLBACKS}:
        return None
    if kind != MESSAGE_STATUS_CALLBACK:
        return Ignored() if kind in callbacks.OTHER_CALLBACK_TYPES else Ignored(kind)
    if not isinstance(status, str) or not status.strip() or status in OUTCOME_BY_STATUS:
        return None
    return Ignored() if status in callbacks.INCOMING_STATUSES else Ignored(status, is_status=True)


def _text(value: Any, *, longest: int = _LONGEST_ID, may_be_blank: bool = True) -> str:
    """An id or a number, kept to the letter. The provider documents strings; integers are taken as their digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValidationError(_("Not a string or an integer."), "invalid")
    if not may_be_blank and not value.strip():
        raise ValidationError(_("This field may not be blank."), "blank")
    if len(value) > longest:
        text = _("Ensure this field has no more than {limit} characters.")
        raise ValidationError(text.format(limit=longest), "max_length")
    if payloads.UNSTORABLE_CHARACTERS.search(value):
        raise ValidationError(_("Contains a character that can't be part of it."), "characters")
    return value


def _choice(value: Any, choices: dict[str, str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValidationError(_("Not one of the values that this field may have."), "invalid_choice")
    return choices[value]


def _ids(values: Any) -> dict[str, Any]:
    """The messageIds that a status is about, each once, with the JSON value that it came as."""
    if not isinstance(values, list):
        raise ValidationError(_("Not a list."), "not_a_list")
    if not values:
        raise ValidationError(_("This list may not be empty."), "empty")
    if len(values) > callbacks.MAX_STATUS_IDS:
        text = _("Ensure this list has no more than {limit} items.")
        raise ValidationError(text.format(limit=callbacks.MAX_STATUS_IDS), "max_items")
    return {_text(value, may_be_blank=False): value for value in values}


def _moment(value: Any) -> datetime | None:
    """Milliseconds since the epoch, or seconds on older pages. None where it can't be a true time."""
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdecimal():
        value = int(value)
    latest = time.time() + _DAY
    # Bounded before the division: an integer of 1,000 digits is no float.
    if not isinstance(value, int) or isinstance(value, bool) or not _EARLIEST <= value <= latest * 1000:
        return None
    seconds = value / 1000 if value >= _FIRST_MILLISECONDS else value
    return times.from_timestamp(seconds) if _EARLIEST <= seconds <= latest else None


#: By the provider's key: the field, and how its value is read. Whoever refuses "" has to be there. All other keys are
#: only kept in the payload.
_Keys = dict[str, tuple[str, Callable[[Any], Any]]]
_OF_CONNECTION: _Keys = {"instanceId": ("instance_id", _text), "momment": ("occurred_at", _moment)}
#: Source: the provider's page "Ao enviar" (on-message-send) and, for instanceId and momment, live traffic.
_OF_DELIVERY: _Keys = _OF_CONNECTION | {
    "phone": ("phone", partial(_text, longest=_LONGEST_PHONE, may_be_blank=False)),
    "zaapId": ("zaap_id", partial(_text, may_be_blank=False)),
    "type": ("type", partial(_choice, choices={DELIVERY_CALLBACK: DELIVERY_CALLBACK})),
    "customId": ("custom_id", _text),
    "messageId": ("message_id", _text),
}
#: Source: Z-API's documentation.
_OF_STATUS: _Keys = _OF_CONNECTION | {
    "status": ("outcome", partial(_choice, choices=OUTCOME_BY_STATUS)),
    "ids": ("ids", _ids),
    "phone": ("phone", partial(_text, longest=_LONGEST_PHONE)),
    "participant": ("participant", partial(_text, longest=_LONGEST_PHONE)),
}


def _read_keys(given: dict[str, Any], keys: _Keys) -> dict[str, Any]:
    """By field. Raises one ValidationError for all that is wrong."""
    said, errors = {}, {}
    for key, (name, reader) in keys.items():
        try:
            said[name] = reader(given.get(key, ""))
        except ValidationError as error:
            errors[key] = error.detail if key in given else [ErrorDetail(_("This field is required."), "required")]
    if errors:
        raise ValidationError(errors)
    return said


def _read_delivery(given: dict[str, Any], payload: Any, *, longest: int) -> Callback:
    said = _read_keys(given, _OF_DELIVERY)
    errors = _errors(payload)
    texts = [
        error if isinstance(error, str) else json.dumps(error, ensure_ascii=False, sort_keys=True) for error in errors
    ]
    # What is no text is kept twice, and numbers may be written at greater length than they came.
    if texts != errors and len(json.dumps(payload)) + sum(map(len, texts)) > longest:
        raise ParseError(_("The error is too long."), code="not_storable")
    has_failed = any(error is not False and error != "" for error in errors)
    return Callback(
        **said,
        payload=payload,
        error=texts[0],
        error_code=texts[1],
        outcome="failed" if has_failed else "sent",
        failure=kind_of(*texts) if has_failed else "",
    )


def _errors(payload: Any) -> list[Any]:
    """``error`` and ``errorCode``, of whatever shape; "" where there is none."""
    return ["" if payload.get(key) is None else payload[key] for key in ("error", "errorCode")]


def _read_status(given: dict[str, Any], payload: Any) -> tuple[Callback, ...]:
    if "id" in given:  # of an old page
        given = {"ids": [given["id"]]} | given
    said = _read_keys(given, _OF_STATUS)
    ids = said.pop("ids")
    # What is stored once for each message has to be short.
    short = {
        key: payload[key] for key in payload if key in {"type", *_OF_STATUS} and len(str(payload[key])) <= _LONGEST_ID
    }
    return tuple(
        Callback(
            **said,
            type=MESSAGE_STATUS_CALLBACK,
            message_id=message_id,
            payload=payload if len(ids) == 1 else short | {"ids": [as_given]},
        )
        for message_id, as_given in ids.items()
    )
