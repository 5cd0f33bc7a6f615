"""What the provider posts: bodies of its documentation and of captured requests. Numbers and ids are examples."""

import base64
from typing import Any

# Those of tests.settings.
SECRET = "first-secret-of-the-default-account"
RETIRING_SECRET = "retiring-secret-of-the-default-account"
SECRET_OF_NORTE = "secret-of-the-account-norte"


def url_of(secret: str) -> str:
    return f"/plugchat/callback/{secret}/"


URL = url_of(SECRET)

#: The example of the provider's page "Ao enviar".
EXAMPLE: dict[str, Any] = {
    "phone": "554499999999",
    "customId": "123",
    "zaapId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "messageId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "type": "DeliveryCallback",
}
LIVE_SUCCESS: dict[str, Any] = {
    "phone": "553199990000",
    "messageId": "3EB0EE5C811ACA0277C307",
    "instanceId": "3E4F7360B552F0C2DBCB9E6774402775",
    "zaapId": "3E50A454522970E8FF33FA2035A79316",
    "momment": 1754011529395,
    "type": "DeliveryCallback",
}
#: The same, as it comes with ``Content-Encoding: gzip``.
LIVE_SUCCESS_GZIPPED = base64.b64decode(
    "H4sIAAAAAAACAz2Oyw6CMBBFf4V07WLa6TDUXSlt4mdUbJTIK0JM0PjvAome7T03OW8x3oY+iWMmiFCaFVgRh0x0aZriNZ0u24i+BO/JFVJa"
    "Z0ExOwTetKaf5tjXf08HxhxKIhXAqap0pfE5s9bbibbHK8bxZxNYTZqUMgy+CAExWAVIlg3KfM8Yui7186pLJg1SkjJoaF3mZdzDq9Q2z/RY"
    "XGzbc6zv4vMFprjpe9YAAAA="
)
LIVE_ERROR: dict[str, Any] = {
    "phone": "554499999999",
    "messageId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "error": "Phone number does not exist",
    "instanceId": "instance.id",
    "zaapId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "momment": 1777494091684,
    "type": "DeliveryCallback",
}
LIVE_SHADOW_BAN: dict[str, Any] = {
    "phone": "554499999999",
    "messageId": "B31DA9C0183A2D35A260F53F5D2B9245",
    "error": "The message was not sent due to a likely shadow ban",
    "errorCode": "SHADOW_BAN",
    "instanceId": "instance.id",
    "zaapId": "B31DA9C0183A2D35A260F53F5D2B9245",
    "momment": 1777494091999,
    "type": "DeliveryCallback",
}
TO_GROUP: dict[str, Any] = {
    "phone": "120363019502650977-group",
    "messageId": "A800FB3697F1DE58C48D",
    "instanceId": "instance.id",
    "zaapId": "3E50A454522970E8FF33FA2035A79317",
    "momment": 1777494009341,
    "type": "DeliveryCallback",
}

#: A status, as the documentation shows it.
STATUS: dict[str, Any] = {
    "instanceId": "instance.id",
    "status": "READ",
    "ids": ["3EB0EE5C811ACA0277C307"],
    "momment": 1632234645000,
    "phoneDevice": 0,
    "phone": "5544999999999",
    "type": "MessageStatusCallback",
    "isGroup": False,
}
STATUS_OF_AN_OLD_PAGE: dict[str, Any] = {
    "status": "MESSAGE_RECEIVED",
    "ids": ["999999999999999999999"],
    "momment": 1632234645000,
    "phone": "5544999999999",
    "type": "MessageStatusCallback",
}
STATUS_OF_TWO: dict[str, Any] = {
    "instanceId": "instance.id",
    "status": "READ",
    "ids": ["3EB0EE5C811ACA0277C307", "3EB0EE5C811ACA0277C308"],
    "momment": 1754011545000,
    "phoneDevice": 0,
    "phone": "553199990000",
    "type": "MessageStatusCallback",
    "isGroup": False,
}
STATUS_IN_GROUP: dict[str, Any] = {
    "instanceId": "instance.id",
    "status": "RECEIVED",
    "ids": ["A800FB3697F1DE58C48D"],
    "momment": 1777494011000,
    "phoneDevice": 5,
    "phone": "120363019502650977-group",
    "participant": "5511999999999",
    "participantDevice": 0,
    "type": "MessageStatusCallback",
    "isGroup": True,
}

# Not for this app.
READ_BY_ME: dict[str, Any] = {
    "instanceId": "instance.id",
    "status": "READ_BY_ME",
    "ids": ["3A5F0C7B9D1E2F4A6B8C"],
    "momment": 1754011600000,
    "phoneDevice": 0,
    "phone": "553199990000",
    "type": "MessageStatusCallback",
    "isGroup": False,
}
DISCONNECTED: dict[str, Any] = {
    "momment": 1580163342,
    "error": "Device has been disconnected",
    "disconnected": True,
    "type": "DisconnectedCallback",
}
#: A whole conversation, without a type. One of its keys occurs twice, which a dict could not hold.
ATTENDANCE_FINISHED = (
    b'{"attendance":{"attendanceNumber":1492,"customer":{"name":"Nome","phone":"554499999999"},'
    b'"departament":"Vendas","endTime":1651065481865,"finishBy":"Operador","operatorReport ":"Relato",'
    b'"requestTime":1651065472000,"startTime":1651065471166,"status":"FINISH"},'
    b'"chat":{"ID_1":{"broadcast":false,"chatName":"Nome","fromMe":false,"messageId":"ID_1",'
    b'"momment":1651065478000,"phone":"554499999999","senderName":"Nome","status":"RECEIVED",'
    b'"text":{"message":"texto privado"},"type":"ReceivedCallback"},"ID_1":{"fromMe":true,"messageId":"ID_2",'
    b'"momment":1651065479380,"phone":"554499999999","status":"READ","text":{"message":"so um momento"}}}}'
)
