"""What drf-spectacular says of the callback URL, where a project uses it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from django_plugchat.serializers import DeliveryCallbackSerializer


def _id(longest: int, pattern: str) -> dict[str, Any]:
    return {"oneOf": [{"type": "string", "maxLength": longest, "pattern": pattern}, {"type": "integer"}]}


_NOT_BLANK = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"
_OPTIONAL_ID = {"nullable": True} | _id(255, r"^[^\u0000]*$")
_DELIVERY_CALLBACK = {
    "type": "object",
    "required": ["phone", "zaapId", "type"],
    "properties": {
        "phone": _id(64, _NOT_BLANK),
        "zaapId": _id(255, _NOT_BLANK),
        "type": {"type": "string", "enum": ["DeliveryCallback"]},
        "customId": _OPTIONAL_ID,
        "messageId": _OPTIONAL_ID,
        "instanceId": _OPTIONAL_ID,
        "momment": {"description": "Milliseconds since the epoch."},
        "error": {"description": "Absent when the message went out."},
        "errorCode": {},
    },
    "additionalProperties": True,
}
_OTHER_CALLBACK = {
    "type": "object",
    "description": "Any other type is ignored.",
    "required": ["type"],
    "properties": {"type": {"type": "string", "pattern": r"\S", "not": {"enum": ["DeliveryCallback"]}}},
    "additionalProperties": True,
}
CALLBACK = {"oneOf": [_DELIVERY_CALLBACK, _OTHER_CALLBACK], "required": ["type"]}
STATUS = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string", "enum": ["recorded", "duplicate", "ignored"]}},
}
DETAIL = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
ERRORS = {
    "type": "object",
    "description": "A detail, or a list of sentences for each field.",
    "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}
EXAMPLE = OpenApiExample(
    "The provider's own example",
    value={
        "phone": "554499999999",
        "customId": "123",
        "zaapId": "A20DA9C0183A2D35A260F53F5D2B9244",
        "messageId": "A20DA9C0183A2D35A260F53F5D2B9244",
        "type": "DeliveryCallback",
    },
    request_only=True,
)


class DeliveryCallbackExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = "django_plugchat.serializers.DeliveryCallbackSerializer"

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        return CALLBACK


class CallbackViewExtension(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    target_class = "django_plugchat.views.CallbackView"

    def view_replacement(self) -> Any:
        class Described(self.target_class):  # type: ignore[name-defined,misc]
            @extend_schema(
                operation_id="plugchat_callback",
                parameters=[OpenApiParameter("secret", str, OpenApiParameter.PATH, description="Tells who calls.")],
                request={"application/json": DeliveryCallbackSerializer},
                examples=[EXAMPLE],
                auth=[],
                responses={
                    200: OpenApiResponse(STATUS, "Stored, known and counted, or of a type that is not stored."),
                    400: OpenApiResponse(ERRORS, "Not a usable callback: kept, to be replayed."),
                    404: OpenApiResponse(DETAIL, "Unknown secret."),
                    405: OpenApiResponse(DETAIL, "A method other than POST."),
                    411: OpenApiResponse(DETAIL, "No declared length, and the body can't be had complete."),
                    413: OpenApiResponse(DETAIL, "Larger than MAX_BODY_BYTES."),
                    415: OpenApiResponse(DETAIL, "A content type other than application/json."),
                    503: OpenApiResponse(DETAIL, "The database failed: nothing was stored. See Retry-After."),
                },
            )
            def post(self, *args: Any, **kwargs: Any) -> None:
                """Take a delivery callback."""

        return Described
