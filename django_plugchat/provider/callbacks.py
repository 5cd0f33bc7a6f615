"""What PlugChat's callbacks look like.

Sources: the provider's page "Ao enviar" (on-message-send) for the delivery callback, the documentation of Z-API, whose
engine PlugChat resells, for statuses, and captured requests for the rest.
"""

DELIVERY_CALLBACK = "DeliveryCallback"
MESSAGE_STATUS_CALLBACK = "MessageStatusCallback"
#: Whether each says that the instance is connected.
CONNECTION_CALLBACKS = {"ConnectedCallback": True, "DisconnectedCallback": False}

#: Types that are known and not stored. An operator who points every webhook at one URL gets them here.
OTHER_CALLBACK_TYPES = frozenset({"ReceivedCallback", "PresenceChatCallback", "ProxyCallback"})

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
