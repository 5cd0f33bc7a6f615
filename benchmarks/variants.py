"""What is measured: where each variant is posted to, and with what. Needs no Django."""

import base64
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

SECRET = "first-secret-of-the-default-account"
CALLBACK = f"/plugchat/callback/{SECRET}/"


def unique_id() -> str:
    return secrets.token_hex(16).upper()


def delivery(unique: str) -> str:
    """A callback of the provider's live traffic."""
    return json.dumps(
        {
            "phone": f"55119{secrets.randbelow(10**8):08}",
            "zaapId": unique,
            "messageId": unique,
            "instanceId": "3B8D1E0F5A724C96A1D0E7F2B4C6985A",
            "type": "DeliveryCallback",
            "momment": time.time_ns() // 1_000_000,
        }
    )


def statuses(unique: str) -> str:
    """A callback about a hundred messages, each of which makes an event."""
    ids = [f"{unique}{number}" for number in range(100)]
    return json.dumps({"type": "MessageStatusCallback", "status": "READ", "ids": ids, "phone": "5511999999999"})


def other_type(unique: str) -> str:
    return json.dumps({"type": "ReceivedCallback", "messageId": unique, "phone": "5511999999999"})


def postmark(unique: str) -> str:
    """Postmark's own example of a delivery webhook."""
    return json.dumps(
        {
            "RecordType": "Delivery",
            "ServerID": 23,
            "MessageStream": "outbound",
            "MessageID": unique,
            "Recipient": "john@example.com",
            "Tag": "welcome-email",
            "DeliveredAt": "2026-02-05T16:33:54.9070259Z",
            "Details": "Test delivery webhook details",
            "Metadata": {"order": "123"},
        }
    )


@dataclass(frozen=True)
class Variant:
    name: str
    path: str
    body: Callable[[str], str] = delivery
    #: Posts what it has just stored.
    repeated: bool = False
    #: A trivial receiver of ``delivery_recorded`` is connected.
    receiver: bool = False
    authorization: str = ""
    status: int = 200
    #: Sent with ``Content-Encoding: gzip``.
    compressed: bool = False
    #: 1,000 accounts are configured.
    many_accounts: bool = False


_ANYMAIL = "Basic " + base64.b64encode(b"anymail:first-secret-of-anymail").decode()

#: What no Django site can do without: a Django request that does nothing, and the driver's INSERT of the same row.
LIMIT = Variant("the limit: a request that does nothing, and the INSERT", "/nothing/")
FLOOR = Variant("a plain view: json.loads, save", "/floor/")
OURS = Variant("django-plugchat, no receiver", CALLBACK)
WITH_RECEIVER = Variant("django-plugchat, one receiver", CALLBACK, receiver=True)
GET_OR_CREATE = Variant("DRF serializer, get_or_create", "/get-or-create/")
TUTORIAL = Variant("DRF ModelSerializer, update_or_create", "/tutorial/")
ANYMAIL = Variant("django-anymail, get_or_create", "/anymail/postmark/tracking/", postmark, authorization=_ANYMAIL)

MANY_ACCOUNTS = Variant("django-plugchat, 1,000 accounts", CALLBACK, many_accounts=True)
COMPRESSED = Variant("django-plugchat, gzip", CALLBACK, compressed=True)
STATUSES = Variant("django-plugchat, a status of a hundred messages", CALLBACK, statuses)
REPEATED = Variant("django-plugchat, repeated", CALLBACK, repeated=True)
WRONG = Variant("django-plugchat, wrong secret", "/plugchat/callback/a-secret-that-nobody-configured/", status=404)
IGNORED = Variant("django-plugchat, ignored type", CALLBACK, other_type)

#: What is put under load over HTTP as well.
NEW = [FLOOR, OURS, WITH_RECEIVER, GET_OR_CREATE, TUTORIAL, ANYMAIL]
OTHER_CASES = [
    REPEATED,
    MANY_ACCOUNTS,
    COMPRESSED,
    STATUSES,
    replace(GET_OR_CREATE, name=f"{GET_OR_CREATE.name}, repeated", repeated=True),
    replace(TUTORIAL, name=f"{TUTORIAL.name}, repeated", repeated=True),
    replace(ANYMAIL, name=f"{ANYMAIL.name}, repeated", repeated=True),
    WRONG,
    IGNORED,
]
