"""What drf-spectacular says of the callback URL, where a project uses it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers as drf

from django_plugchat import provider, serializers
from django_plugchat.answers import ANSWERS

# Of strings: without U+0000, and for what is required not blank.
_STORABLE, _NOT_BLANK = r"^[^\u0000]*$", r"^[^\u0000]*[^\s\u0000][^\u0000]*$"


def _one_of(*values: str) -> dict[str, Any]:
    # Inside allOf drf-spectacular leaves an enum where it is. Else it would make one of all those of a name.
    return {"allOf": [{"type": "string", "enum": list(values)}]}


def _value(field: Any) -> dict[str, Any]:
    """What a key takes, as its field in the serializer does."""
    if isinstance(field, serializers.MessageIdsField):
        # Without maxItems: more of them may be refused as too large a body.
        items, most = _value(field.item), provider.MAX_STATUS_IDS
        return {"type": "array", "items": items, "minItems": 1, "description": f"At most {most}."}
    if isinstance(field, serializers.TextOrIntegerField):
        text = {
            "type": "string",
            "maxLength": field.max_length,
            "pattern": _NOT_BLANK if field.required else _STORABLE,
        }
        return {"oneOf": [text, {"type": "integer"}]} | ({} if field.required else {"nullable": True})
    if isinstance(field, drf.ChoiceField):
        return _one_of(*field.choices)
    if isinstance(field, serializers.MommentField):
        return {"description": "Milliseconds since the epoch."}
    return {"description": "Absent when the message was sent."}


def _object(serializer: Any, **more: dict[str, Any]) -> dict[str, Any]:
    fields = serializer.fields
    return {
        "type": "object",
        "required": list(dict.fromkeys([*more, *(name for name, field in fields.items() if field.required)])),
        "properties": more | {name: _value(field) for name, field in fields.items()},
        "additionalProperties": True,
    }


_DELIVERY = _object(serializers.DeliveryCallbackSerializer())
_STATUS = _object(serializers.MessageStatusCallbackSerializer(), type=_one_of(provider.MESSAGE_STATUS_CALLBACK))
_OTHER_STATUS = {
    "type": "object",
    "description": "The status of an incoming message, or an unknown one, is ignored.",
    "required": ["type", "status"],
    "properties": {
        "type": _one_of(provider.MESSAGE_STATUS_CALLBACK),
        "status": {"type": "string", "pattern": r"\S", "not": _one_of(*provider.OUTCOME_BY_STATUS)},
    },
    "additionalProperties": True,
}
_OTHER = {
    "type": "object",
    "description": "Any other type is ignored, as is a conversation, which has none.",
    "required": ["type"],
    "properties": {
        "type": {
            "type": "string",
            "pattern": r"\S",
            "not": _one_of(provider.DELIVERY_CALLBACK, provider.MESSAGE_STATUS_CALLBACK),
        }
    },
    "additionalProperties": True,
}
CALLBACK = {"oneOf": [_DELIVERY, _STATUS, _OTHER_STATUS, _OTHER], "required": ["type"]}
EXAMPLES = [
    OpenApiExample("The provider's own example", value=provider.EXAMPLE, request_only=True),
    OpenApiExample("Read by the contact", value=provider.STATUS_EXAMPLE, request_only=True),
]

_DETAIL = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
_ERRORS = {
    "type": "object",
    "description": "A detail, or a list of sentences for each field.",
    "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}


def _responses() -> dict[int, OpenApiResponse]:
    taken = _one_of(*(answer.body for answer in ANSWERS if answer.body))
    bodies = {200: {"type": "object", "required": ["status"], "properties": {"status": taken}}, 400: _ERRORS}
    return {
        status: OpenApiResponse(
            bodies.get(status, _DETAIL),
            "; ".join(
                f"{answer.body}: {answer.case}" if answer.body else answer.case
                for answer in ANSWERS
                if answer.status == status
            ),
        )
        for status in sorted({answer.status for answer in ANSWERS})
    }


class CallbackSerializer(drf.Serializer[Any]):
    """Stands for what the view takes, which is of several shapes."""


class CallbackSerializerExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = CallbackSerializer

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        return CALLBACK


class CallbackViewExtension(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    target_class = "django_plugchat.views.CallbackView"

    def view_replacement(self) -> Any:
        class Described(self.target_class):  # type: ignore[name-defined,misc]
            @extend_schema(
                operation_id="plugchat_callback",
                parameters=[OpenApiParameter("secret", str, OpenApiParameter.PATH, description="Tells who calls.")],
                request={"application/json": CallbackSerializer},
                examples=EXAMPLES,
                auth=[],
                responses=_responses(),
            )
            def post(self, *args: Any, **kwargs: Any) -> None:
                """Take a callback about a message that was sent."""

        return Described
