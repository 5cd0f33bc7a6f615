"""From the bytes of a callback to what it says: the one call for the view, a replay and the spool."""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import ErrorDetail, ParseError, ValidationError

from django_plugchat import payloads, times
from django_plugchat.provider.callbacks import (
    CONNECTION_CALLBACKS,
    CONVERSATION_KEYS,
    DELIVERY_CALLBACK,
    INCOMING_STATUSES,
    MAX_STATUS_IDS,
    MESSAGE_STATUS_CALLBACK,
    OTHER_CALLBACK_TYPES,
    OUTCOME_BY_STATUS,
)
from django_plugchat.provider.errors import kind_of

_EARLIEST = 1230768000  # 2009, WhatsApp's first year
_DAY = 24 * 60 * 60
_FIRST_MILLISECONDS = 10**11  # as seconds the year 5138, as milliseconds 1973
_LATEST_MILLISECONDS = 10**14

_LONGEST_PHONE, _LONGEST_ID = 64, 255
#: The keys of each type that are read. All others are only kept in the payload.
DELIVERY_KEYS = ("phone", "zaapId", "type", "customId", "messageId", "instanceId", "error", "errorCode", "momment")
STATUS_KEYS = ("type", "status", "phone", "participant", "instanceId", "momment")

#: How many times as long as the body an event may be, as JSON and text: databases keep some of it at greater length.
_MOST_GROWTH = 4

_FINGERPRINTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

_MESSAGES = {
    "required": _("This field is required."),
    "invalid": _("Not a string or an integer."),
    "blank": _("This field may not be blank."),
    "characters": _("Contains a character that can't be part of it."),
    "max_length": _("Ensure this field has no more than {limit} characters."),
    "invalid_choice": _("Not one of the values that this field may have."),
    "not_a_list": _("Not a list."),
    "empty": _("This list may not be empty."),
    "max_items": _("Ensure this list has no more than {limit} items."),
}


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
    failure: str = ""
    occurred_at: datetime | None = None

    def fingerprint(self, account: str) -> UUID:
        """Over what makes an event the same one. Stored rows depend on it: it never changes."""
        return fingerprint_of(_FINGERPRINTED.encode([account, *self.identity]).encode())


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """That a WhatsApp instance is connected or disconnected, and since when (None where that is not said)."""

    instance_id: str = field(repr=False)
    is_connected: bool
    occurred_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A callback that is not for this app: its type or status, "" for a conversation."""

    name: str = field(repr=False)
    #: Documented by PlugChat or its engine.
    is_known: bool
    #: A status that a later version may know.
    is_unknown_status: bool = False


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
    if isinstance(kind, str) and kind in CONNECTION_CALLBACKS:
        return _read_connection(given, is_connected=CONNECTION_CALLBACKS[kind])
    if kind == MESSAGE_STATUS_CALLBACK:
        return _read_status(given, payload)
    return (_read_delivery(given, payload, longest=_MOST_GROWTH * len(body)),)


def _ignored(value: dict[str, Any]) -> Ignored | None:
    """None if this callback should be recorded or rejected."""
    kind = value.get("type")
    if kind is None and not CONVERSATION_KEYS.isdisjoint(value):
        return Ignored("", is_known=True)
    if not isinstance(kind, str) or not kind.strip() or kind == DELIVERY_CALLBACK or kind in CONNECTION_CALLBACKS:
        return None
    if kind != MESSAGE_STATUS_CALLBACK:
        return Ignored(kind, is_known=kind in OTHER_CALLBACK_TYPES)
    status = value.get("status")
    if not isinstance(status, str) or not status.strip() or status in OUTCOME_BY_STATUS:
        return None
    is_known = status in INCOMING_STATUSES
    return Ignored(status, is_known=is_known, is_unknown_status=not is_known)


class _Fields:
    """Reads the keys of one callback, and collects what is wrong with them."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.errors: dict[str, list[ErrorDetail]] = {}

    def refuse(self, key: str, code: str, limit: int = 0) -> str:
        self.errors[key] = [ErrorDetail(str(_MESSAGES[code]).format(limit=limit), code)]
        return ""

    def text(self, key: str, longest: int, *, required: bool = False) -> str:
        if key not in self.given:
            return self.refuse(key, "required") if required else ""
        return self.checked_text(key, self.given[key], longest, required=required)

    def checked_text(self, key: str, value: Any, longest: int, *, required: bool = False) -> str:
        """An id or a number, kept to the letter. The provider documents strings; integers are taken as their digits."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            return self.refuse(key, "invalid")
        if required and not value.strip():
            return self.refuse(key, "blank")
        if len(value) > longest:
            return self.refuse(key, "max_length", longest)
        if payloads.has_unstorable_character(value):
            return self.refuse(key, "characters")
        return value

    def choice(self, key: str, choices: Iterable[str]) -> str:
        value = self.given.get(key)
        if value is None:
            return self.refuse(key, "required")
        if not isinstance(value, str) or value not in choices:
            return self.refuse(key, "invalid_choice")
        return value

    def message_ids(self) -> dict[str, Any]:
        """The messageIds that a status is about, each once, with the JSON value that it came as."""
        # An old page names one "id".
        values = self.given.get("ids", [self.given["id"]] if "id" in self.given else None)
        if values is None:
            self.refuse("ids", "required")
        elif not isinstance(values, list):
            self.refuse("ids", "not_a_list")
        elif not values:
            self.refuse("ids", "empty")
        elif len(values) > MAX_STATUS_IDS:
            self.refuse("ids", "max_items", MAX_STATUS_IDS)
        else:
            return {self.checked_text("ids", value, _LONGEST_ID, required=True): value for value in values}
        return {}

    def momment(self) -> datetime | None:
        """Milliseconds since the epoch, or seconds on older pages. None where it can't be a true time."""
        value = self.given.get("momment")
        if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        # Bounded before the division: an integer of 1,000 digits is no float.
        if not _EARLIEST <= value <= _LATEST_MILLISECONDS:
            return None
        seconds = value / 1000 if value >= _FIRST_MILLISECONDS else value
        return times.from_timestamp(seconds) if _EARLIEST <= seconds <= time.time() + _DAY else None

    def raise_errors(self) -> None:
        if self.errors:
            raise ValidationError(self.errors)


def _read_delivery(given: dict[str, Any], payload: Any, *, longest: int) -> Callback:
    """Source of the keys: the provider's page "Ao enviar" (on-message-send) for the first four, live traffic for the
    rest.
    """
    fields = _Fields(given)
    phone = fields.text("phone", _LONGEST_PHONE, required=True)
    zaap_id = fields.text("zaapId", _LONGEST_ID, required=True)
    kind = fields.choice("type", (DELIVERY_CALLBACK,))
    custom_id = fields.text("customId", _LONGEST_ID)
    message_id = fields.text("messageId", _LONGEST_ID)
    instance_id = fields.text("instanceId", _LONGEST_ID)
    fields.raise_errors()
    # The JSON itself, not its text: the object {"a": 1} and the string '{"a": 1}' are not the same error.
    error, error_code = (payload[key] if key in given else "" for key in ("error", "errorCode"))
    error_text, code_text = _text(error), _text(error_code)
    is_text = isinstance(error, str) and isinstance(error_code, str)
    # Else it is kept twice, and numbers may be written at greater length than they came.
    if not is_text and len(json.dumps(payload)) + len(error_text) + len(code_text) > longest:
        raise ParseError(_("The error is too long."), code="not_storable")
    has_failed = _is_error(error) or _is_error(error_code)
    return Callback(
        type=kind,
        outcome="failed" if has_failed else "sent",
        failure=kind_of(error_text, code_text) if has_failed else "",
        payload=payload,
        identity=(phone, zaap_id, custom_id, message_id, instance_id, kind, error, error_code),
        phone=phone,
        zaap_id=zaap_id,
        custom_id=custom_id,
        message_id=message_id,
        instance_id=instance_id,
        error=error_text,
        error_code=code_text,
        occurred_at=fields.momment(),
    )


def _read_status(given: dict[str, Any], payload: Any) -> tuple[Callback, ...]:
    """Source of the keys: Z-API's documentation."""
    fields = _Fields(given)
    status = fields.choice("status", OUTCOME_BY_STATUS)
    ids = fields.message_ids()
    phone = fields.text("phone", _LONGEST_PHONE)
    participant = fields.text("participant", _LONGEST_PHONE)
    instance_id = fields.text("instanceId", _LONGEST_ID)
    fields.raise_errors()
    outcome, kind, occurred_at = OUTCOME_BY_STATUS[status], MESSAGE_STATUS_CALLBACK, fields.momment()
    # Of what is stored once for each message: what was checked to be short.
    short = {key: payload[key] for key in STATUS_KEYS if key in payload and len(str(payload[key])) <= _LONGEST_ID}
    return tuple(
        Callback(
            type=kind,
            outcome=outcome,
            payload=payload if len(ids) == 1 else short | {"ids": [as_given]},
            identity=(phone, participant, message_id, instance_id, kind, outcome),
            phone=phone,
            participant=participant,
            message_id=message_id,
            instance_id=instance_id,
            occurred_at=occurred_at,
        )
        for message_id, as_given in ids.items()
    )


def _read_connection(given: dict[str, Any], *, is_connected: bool) -> ConnectionReport:
    fields = _Fields(given)
    instance_id = fields.text("instanceId", _LONGEST_ID)
    fields.raise_errors()
    return ConnectionReport(instance_id, is_connected, fields.momment())


def _text(error: Any) -> str:
    return error if isinstance(error, str) else json.dumps(error, ensure_ascii=False, sort_keys=True)


def _is_error(error: Any) -> bool:
    return error is not False and error != ""
