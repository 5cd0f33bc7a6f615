"""The calls that register a URL, of PlugChat and of Z-API, its engine."""

from django_plugchat.provider.callbacks import DELIVERY_CALLBACK, MESSAGE_STATUS_CALLBACK

#: The calls that register a URL for one webhook, relative to the base of the API: of PlugChat's pages of 2022, and the
#: engine's own to this day.
DELIVERY_WEBHOOK = "update-webhook-delivery"
MESSAGE_STATUS_WEBHOOK = "update-webhook-message-status"
CONNECTION_WEBHOOKS = ("update-webhook-connected", "update-webhook-disconnected")

#: PlugChat's call of today, relative to ``…/api``, and the keys of its body, each with a URL.
UPDATE_WEBHOOKS = "integrations/update-webhooks"
DELIVERY_KEYS = ("sendingMessage", "messageDeliveryError")
MESSAGE_STATUS_KEY = "messageStatus"
DISCONNECTION_KEY = "whenDisconnecting"
OTHER_KEYS = ("receiveMessage", "startAttendance", "finishAttendance")
UPDATE_WEBHOOKS_KEYS = (*DELIVERY_KEYS, MESSAGE_STATUS_KEY, DISCONNECTION_KEY, *OTHER_KEYS)

#: The type of the callbacks that a webhook asks for, where they become events.
TYPE_OF_WEBHOOK = {
    **dict.fromkeys((DELIVERY_WEBHOOK, *DELIVERY_KEYS), DELIVERY_CALLBACK),
    **dict.fromkeys((MESSAGE_STATUS_WEBHOOK, MESSAGE_STATUS_KEY), MESSAGE_STATUS_CALLBACK),
}

Z_API_URL = "https://api.z-api.io"
#: The engine's own account of an instance. It holds the token as well.
ME = "me"
#: The types of callbacks that the engine keeps back although a URL is registered, a list in ``ME``.
FILTERS_KEY = "callbackTypeFilters"
#: What ``ME`` calls the URL of a webhook, and the type that keeps its callbacks back.
URL_KEY_AND_FILTER = {
    DELIVERY_WEBHOOK: ("deliveryCallbackUrl", "FILTER_DELIVERY_CALLBACK"),
    MESSAGE_STATUS_WEBHOOK: ("messageStatusCallbackUrl", "FILTER_MESSAGE_STATUS_CALLBACK"),
    "update-webhook-connected": ("connectedCallbackUrl", "FILTER_CONNECTED_CALLBACK"),
    "update-webhook-disconnected": ("disconnectedCallbackUrl", "FILTER_DISCONNECTED_CALLBACK"),
}
