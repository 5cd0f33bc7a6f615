"""What PlugChat says and takes, as data.

Sources: the provider's page "Ao enviar" (on-message-send) for the delivery callback and its example, the documentation
of Z-API, whose engine PlugChat resells, for statuses and error texts, and captured requests for the rest.
"""

from __future__ import annotations

DELIVERY_CALLBACK = "DeliveryCallback"
MESSAGE_STATUS_CALLBACK = "MessageStatusCallback"

#: Types that are known and not stored. An operator who points every webhook at one URL gets them here.
OTHER_CALLBACK_TYPES = frozenset(
    {
        "ReceivedCallback",
        "PresenceChatCallback",
        "ConnectedCallback",
        "DisconnectedCallback",
        "ProxyCallback",
    }
)

#: What the JSON of a conversation holds that has no ``type``: an attendance that began or ended, with its chat.
CONVERSATION_KEYS = frozenset({"attendance", "chat"})

#: The statuses of a message that this account sent, each with the outcome it is stored as. ``MESSAGE_RECEIVED`` is the
#: spelling of old pages.
OUTCOME_BY_STATUS = {
    "SENT": "sent",
    "RECEIVED": "received",
    "MESSAGE_RECEIVED": "received",
    "READ": "read",
    "PLAYED": "played",
}
#: The statuses of a message that this account got: its own reading of it.
INCOMING_STATUSES = frozenset({"READ_BY_ME", "READ-SELF"})

#: How many ids one status callback may hold. The provider names no limit; this one bounds a transaction.
MAX_STATUS_IDS = 1000

#: The example of the provider's page.
EXAMPLE = {
    "phone": "554499999999",
    "customId": "123",
    "zaapId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "messageId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "type": DELIVERY_CALLBACK,
}
STATUS_EXAMPLE = {
    "instanceId": "instance.id",
    "status": "READ",
    "ids": ["3EB0EE5C811ACA0277C307"],
    "momment": 1632234645000,
    "phoneDevice": 0,
    "phone": "5544999999999",
    "type": MESSAGE_STATUS_CALLBACK,
    "isGroup": False,
}

#: The texts of ``error``, by what can be done about them (Z-API's documentation, 2026-07).
ERRORS_BY_KIND: dict[str, tuple[str, ...]] = {
    "number": (
        "Phone number does not exist",
        "Message has not been sent because it got invalid phone number",
    ),
    "restricted": (
        "The message was not sent due to a likely shadow ban",
        "Whatsapp rejected sending this message",
        "Whatsapp did not allow sending this message",
        "Did not have permission to send this message.",
        "Does not have permission to send the message",
        "You can't message this group as you don't have permission",
    ),
    "temporary": (
        "Timeout on send message",
        "Error on send message",
        "It was not possible to send message to queue due to request error.",
    ),
    "media": (
        "Message not send caused by invalid media url",
        "Got a 404 error while trying to send message",
        "The url informed is not a valid url in the media format, apparently it can be an html",
        "Message has not been sent because an error occurred in the conversion",
    ),
    "request": (
        "Message has not been sent because it got invalid request params.",
        "This type of message can only be sent in groups",
        "You must accept buttons message terms in panel to send this message.",
        "Message has not been edited because it has been more than 7 days",
        "Comment message has not been sent because it has more than 7 days",
        "Message does not forward because it was not found",
        "Status reply has not been sent because the status message was not found",
        "Product message has not been sent because provided product id was not found.",
        "Product message has not been sent because provided catalog phone must not be a lid.",
        "Catalog message has not been sent because the catalog was not found.",
        "Order has not been sent because it received invalid currency code",
        "Update order has not been sent because it received invalid request data.",
        "Newsletter poll vote was not sent because of missing identifier.",
        "Event edit message was not sent because the phone is not from a group.",
        "Event edit message was not sent because receive invalid date time.",
    ),
}
#: Texts that go on with something of the message: a content type, a kind of message.
ERROR_BEGINNINGS = {"Unsupported sticker format: ": "media"}
ERROR_ENDINGS = {" not available to channels": "request"}
#: The values of ``errorCode``, of which one is known.
ERROR_CODES = {"SHADOW_BAN": "restricted"}

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
