"""The calls that register a URL with PlugChat."""

from __future__ import annotations

#: The calls that register a URL (the pages of 2022), relative to the base of the API.
DELIVERY_WEBHOOK = "update-webhook-delivery"
MESSAGE_STATUS_WEBHOOK = "update-webhook-message-status"
#: Today's call, relative to ``…/api``, and the keys of its body, each with a URL.
UPDATE_WEBHOOKS = "integrations/update-webhooks"
UPDATE_WEBHOOKS_KEYS = (
    "sendingMessage",
    "messageDeliveryError",
    "messageStatus",
    "receiveMessage",
    "whenDisconnecting",
    "startAttendance",
    "finishAttendance",
)
