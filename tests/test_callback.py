"""The answers of the callback URL, row by row."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime

import pytest
from asgiref.sync import async_to_sync
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_plugchat.conf import secret_id
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.parsers import PayloadEncoder

from .conftest import EXAMPLE, SECRET, URL

pytestmark = pytest.mark.django_db

LIVE_SUCCESS = {
    "phone": "553199990000",
    "messageId": "3EB0EE5C811ACA0277C307",
    "instanceId": "3E4F7360B552F0C2DBCB9E6774402775",
    "zaapId": "3E50A454522970E8FF33FA2035A79316",
    "momment": 1754011529395,
    "type": "DeliveryCallback",
}
LIVE_ERROR = {
    "phone": "554499999999",
    "messageId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "error": "Phone number does not exist",
    "instanceId": "instance.id",
    "zaapId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "momment": 1777494091684,
    "type": "DeliveryCallback",
}
LIVE_SHADOW_BAN = {
    "phone": "554499999999",
    "messageId": "B31DA9C0183A2D35A260F53F5D2B9245",
    "error": "Whatsapp did not allow sending this message",
    "errorCode": "SHADOW_BAN",
    "instanceId": "instance.id",
    "zaapId": "B31DA9C0183A2D35A260F53F5D2B9245",
    "momment": 1777494091999,
    "type": "DeliveryCallback",
}
TO_GROUP = LIVE_SUCCESS | {"phone": "120363019502650977-group"}
STATUS = {
    "instanceId": "instance.id",
    "status": "READ",
    "ids": ["3EB0EE5C811ACA0277C307"],
    "momment": 1632234645000,
    "phoneDevice": 0,
    "phone": "5544999999999",
    "type": "MessageStatusCallback",
    "isGroup": False,
}


def assert_nothing_stored():
    assert not DeliveryEvent.objects.exists()
    assert not RejectedCallback.objects.exists()


def callback_with(**changes):
    return {key: value for key, value in (EXAMPLE | changes).items() if value is not ...}


# 404


@pytest.mark.parametrize(
    "path",
    [
        "callback",
        "callback/",
        "callback//",
        "callback/wrong",
        f"callback/{SECRET}x/",
        f"callback/{SECRET[:-1]}/",
        f"callback/{SECRET}/more",
        f"callback/{SECRET}/more/",
        f"callback/{SECRET}//",
        f"callback/{SECRET.upper()}/",
        "callback/%0A/",
        "callback/%ff%fe/",
        "callback/ç/",
    ],
)
@pytest.mark.parametrize("method", ["post", "get", "options", "delete"])
def test_unknown_secret(client, method, path):
    response = getattr(client, method)(f"/plugchat/{path}")
    assert response.status_code == 404
    assert response.json() == {"detail": "Not found."}
    assert_nothing_stored()


@pytest.mark.parametrize(
    "accounts",
    [{}, {"default": {}}, {"default": {"WEBHOOK_SECRETS": [""]}}, {"default": {"WEBHOOK_SECRETS": SECRET}}, None],
)
def test_no_secret_configured(plugchat, post, accounts):
    plugchat(ACCOUNTS=accounts)
    assert post(EXAMPLE).status_code == 404
    assert post(EXAMPLE, url=f"/plugchat/callback/{SECRET[0]}/").status_code == 404


@pytest.mark.parametrize("wrong", [{1: {"WEBHOOK_SECRETS": [SECRET]}}, {"a": {"WEBHOOK_SECRETS": [None, 1]}}])
def test_what_the_checks_refuse_opens_nothing(plugchat, post, wrong):
    plugchat(ACCOUNTS=wrong)
    assert post(EXAMPLE).status_code == 404


def test_a_token_of_another_type(plugchat, post):
    plugchat(ACCOUNTS={"default": {"TOKEN": 123456, "WEBHOOK_SECRETS": [SECRET]}})
    assert post({"type": "NewCallback"}).json() == {"status": "ignored"}


def test_without_the_setting(settings, post):
    del settings.PLUGCHAT
    assert post(EXAMPLE).status_code == 404
    settings.PLUGCHAT = None
    assert post(EXAMPLE).status_code == 404


# 405


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
def test_another_method(client, method):
    response = client.generic(method, URL, b"{}", content_type="text/plain")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert_nothing_stored()


# 415


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", "", "json"],
)
def test_another_content_type(post, content_type):
    response = post(json.dumps(EXAMPLE), content_type=content_type)
    assert response.status_code == 415
    assert response.json() == {"detail": f'Unsupported media type "{content_type}" in request.'}
    assert_nothing_stored()


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=x"]
)
def test_json_content_types(post, content_type):
    assert post(json.dumps(EXAMPLE), content_type=content_type).status_code == 200


# 413


def test_too_large(post, plugchat):
    body = json.dumps(EXAMPLE)
    plugchat(MAX_BODY_BYTES=len(body))
    assert post(body).status_code == 200
    assert post(body + " ").status_code == 413
    assert not RejectedCallback.objects.exists()


def test_declared_too_large_is_not_read(post):
    # The test client fails when more is read than was sent.
    assert post(b"{}", CONTENT_LENGTH="9" * 5000).status_code == 413
    assert post(b"{}", CONTENT_LENGTH="65537").status_code == 413
    assert_nothing_stored()


def test_project_limit_does_not_apply(post, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert post(EXAMPLE).json() == {"status": "recorded"}


def test_body_read_before_by_a_middleware(post, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.hostile.BodyReadingMiddleware"]
    assert post(EXAMPLE).json() == {"status": "recorded"}


# 411, and other transports


class Stream(io.RawIOBase):
    """A body that comes in small pieces, and may fail."""

    def __init__(self, body: bytes, fail: bool = False):
        self.body, self.fail = body, fail

    def read(self, size: int) -> bytes:
        if not self.body and self.fail:
            raise OSError
        piece, self.body = self.body[: min(size, 7)], self.body[min(size, 7) :]
        return piece


def post_stream(stream: Stream, **environ):
    return Client().generic(
        "POST", URL, **{"wsgi.input": stream, "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": ""} | environ
    )


def test_chunked_where_the_server_cannot_end_it():
    response = post_stream(Stream(json.dumps(EXAMPLE).encode()), HTTP_TRANSFER_ENCODING="chunked")
    assert response.status_code == 411
    assert_nothing_stored()


def test_chunked_where_the_server_ends_it():
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    response = post_stream(Stream(json.dumps(EXAMPLE).encode()), **environ)
    assert response.json() == {"status": "recorded"}
    assert post_stream(Stream(b"[" * 70000), **environ).status_code == 413


def test_pieces_that_end_at_the_limit(plugchat):
    plugchat(MAX_BODY_BYTES=14)
    environ = {"wsgi.input_terminated": True}
    assert post_stream(Stream(b'{"type": "xy"}'), **environ).json() == {"status": "ignored"}
    assert post_stream(Stream(b'{"type": "xy"}       '), **environ).status_code == 413


def test_in_pieces():
    body = json.dumps(EXAMPLE).encode()
    assert post_stream(Stream(body), CONTENT_LENGTH=str(len(body))).json() == {"status": "recorded"}


def test_client_that_goes_away():
    response = post_stream(Stream(b'{"phone": ', fail=True), CONTENT_LENGTH="100")
    assert (response.status_code, response.json()) == (400, {"detail": "The body ended early."})
    assert_nothing_stored()


def test_no_declared_length_in_another_protocol():
    """As from HTTP/2, which has no Transfer-Encoding."""
    response = post_stream(Stream(json.dumps(EXAMPLE).encode()), **{"wsgi.input_terminated": True})
    assert response.json() == {"status": "recorded"}


def test_no_body_at_all():
    assert post_stream(Stream(b"")).status_code == 400
    assert RejectedCallback.objects.get().body_text == ""


@pytest.mark.django_db(transaction=True)
def test_asgi(async_client):
    response = async_to_sync(async_client.post)(URL, EXAMPLE, content_type="application/json")
    assert response.json() == {"status": "recorded"}


# Ignored


def test_other_callbacks_are_ignored(post, caplog):
    response = post(STATUS)
    assert (response.status_code, response.json()) == (200, {"status": "ignored"})
    assert_nothing_stored()
    assert not caplog.records


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("PaymentCallbackV2", "PaymentCallbackV2"),
        ("deliverycallback", "deliverycallback"),
        ("5544999999999", "(not a name)"),
        ("x5544999999999", "(not a name)"),
        ("with space", "(not a name)"),
        ("x" * 65, "(not a name)"),
        ("line\nbreak", "(not a name)"),
        ("tokenOfCentro", "[redacted]"),
    ],
)
def test_unknown_types_are_logged_by_name(post, plugchat, settings, caplog, kind, named):
    default = settings.PLUGCHAT["ACCOUNTS"]["default"] | {"TOKEN": "tokenOfCentro"}
    plugchat(ACCOUNTS={"default": default})
    assert post({"type": kind, "text": {"message": "private"}}).json() == {"status": "ignored"}
    assert [record.getMessage() for record in caplog.records] == [
        f"Ignored a callback of an unknown type for account 'default': {named}"
    ]
    assert_nothing_stored()


@pytest.mark.parametrize(
    "rest", ['"x": NaN', '"x": 1e999', f'"x": {"[" * 30}{"]" * 30}', f'"x": {"9" * 5000}', '"phone": {}']
)
def test_what_is_ignored_is_not_judged(post, rest):
    assert post(f'{{"type": "ReceivedCallback", {rest}}}').json() == {"status": "ignored"}
    assert_nothing_stored()


# 400


HOSTILE_BODIES = [
    (b"", "not_json"),
    (b"{", "not_json"),
    (json.dumps(EXAMPLE).encode()[:-1], "not_json"),
    (b"[" * 60_000, "not_json"),
    (b'{"a":' * 10_000, "not_json"),
    (json.dumps(EXAMPLE).encode("utf-16"), "not_json"),
    (json.dumps(EXAMPLE).encode("utf-32"), "not_json"),
    (json.dumps(EXAMPLE).encode("utf-8-sig"), "not_json"),
    ('{"phone": "é"}'.encode("latin-1"), "not_json"),
    (b'{"phone": "\xed\xa0\x80"}', "not_json"),
    (b'{"a": "\n"}', "not_json"),
    (b"\x00", "not_json"),
    (b"a=b", "not_json"),
    (b"[]", "not_object"),
    (b'"text"', "not_object"),
    (b"null", "not_object"),
    (b"1", "not_object"),
    (b"NaN", "not_object"),
    (json.dumps(EXAMPLE | {"x": float("nan")}).encode(), "not_storable"),
    (json.dumps(EXAMPLE | {"x": [float("-inf")]}).encode(), "not_storable"),
    (json.dumps(EXAMPLE)[:-1].encode() + b', "x": 1e999}', "not_storable"),
    (json.dumps(EXAMPLE)[:-1].encode() + b', "x": -%s}' % (b"9" * 5000), "not_storable"),
    (json.dumps(EXAMPLE)[:-1].encode() + b', "momment": %s}' % (b"9" * 1001), "not_storable"),
    (json.dumps(EXAMPLE)[:-1].encode() + b', "x": %s%s}' % (b"[" * 20, b"]" * 20), "not_storable"),
    (json.dumps(EXAMPLE)[:-1].encode() + b', "error": %s%s}' % (b"[" * 300, b"]" * 300), "not_storable"),
    (b"{}", "invalid"),
]


@pytest.mark.parametrize(("body", "reason"), HOSTILE_BODIES)
def test_refused_and_kept_byte_for_byte(post, body, reason):
    response = Client().generic("POST", URL, body, CONTENT_TYPE="application/json")
    assert response.status_code == 400
    rejected = RejectedCallback.objects.get()
    assert bytes(rejected.body) == body
    assert (rejected.account, rejected.reason, rejected.times_received) == ("default", reason, 1)
    assert (rejected.secret_id, rejected.received_at) == (secret_id(SECRET), rejected.last_received_at)
    assert bool(rejected.errors) == (reason == "invalid")
    assert not DeliveryEvent.objects.exists()


UNUSABLE = [
    ("phone", ..., "required"),
    ("zaapId", ..., "required"),
    ("type", ..., "required"),
    ("phone", None, "required"),
    ("zaapId", None, "required"),
    ("type", None, "required"),
    ("phone", "", "blank"),
    ("zaapId", " \t", "blank"),
    ("type", "", "invalid_choice"),
    ("type", "  ", "invalid_choice"),
    ("type", 5, "invalid_choice"),
    ("type", ["DeliveryCallback"], "invalid_choice"),
    ("phone", "5" * 65, "max_length"),
    ("phone", {"number": "554499999999"}, "invalid"),
    ("phone", True, "invalid"),
    ("phone", 554499999999.0, "invalid"),
    ("phone", "55\x0044", "characters"),
    ("zaapId", ["A"], "invalid"),
    ("zaapId", "A" * 256, "max_length"),
    ("zaapId", "A" * 50_000, "max_length"),
    ("zaapId", 10**255, "max_length"),
    ("zaapId", "\ud800", "characters"),
    ("customId", {"id": 1}, "invalid"),
    ("customId", "A" * 256, "max_length"),
    ("customId", "\udfff", "characters"),
    ("messageId", False, "invalid"),
    ("messageId", "\x00", "characters"),
    ("instanceId", [], "invalid"),
    ("instanceId", 1.5, "invalid"),
]


@pytest.mark.parametrize(("key", "value", "code"), UNUSABLE)
def test_unusable_fields(post, key, value, code):
    response = post(callback_with(**{key: value}))
    assert response.status_code == 400
    assert list(response.json()) == [key]
    assert all(isinstance(message, str) for message in response.json()[key])
    assert RejectedCallback.objects.get().errors == {key: [code]}


REFUSALS = [
    (b"{", {"detail": "The body is not JSON in UTF-8."}),
    (b"[]", {"detail": "The body is not a JSON object."}),
    (b'{"a": NaN}', {"detail": "Numbers must be finite, and integers have at most 1000 digits."}),
    (b'{"a": %s}' % (b"[" * 20 + b"]" * 20), {"detail": "The JSON is nested more than 20 levels deep."}),
    (
        b'{"phone": [], "zaapId": " ", "type": 5}',
        {
            "phone": ["Not a string or an integer."],
            "zaapId": ["This field may not be blank."],
            "type": ["Not “DeliveryCallback”."],
        },
    ),
    (
        b'{"phone": "%s", "zaapId": "\\u0000", "type": "DeliveryCallback"}' % (b"5" * 65),
        {
            "phone": ["Ensure this field has no more than 64 characters."],
            "zaapId": ["Contains a character that can't be part of it."],
        },
    ),
]


@pytest.mark.parametrize(("body", "answer"), REFUSALS)
def test_what_a_refusal_says(post, body, answer):
    assert post(body).json() == answer


@pytest.mark.parametrize(
    ("body", "limit", "logged"),
    [
        (b"{", 1, "Refused a callback for account 'default': not_json."),
        (b'{"type": "DeliveryCallback"}', 1, "Refused a callback for account 'default': invalid phone zaapId."),
        (
            b"{",
            0,
            "Refused a callback for account 'default': not_json. Not kept: MAX_REJECTED are kept already.",
        ),
    ],
)
def test_what_a_refusal_logs(post, plugchat, caplog, body, limit, logged):
    plugchat(MAX_REJECTED=limit)
    post(body)
    assert [record.getMessage() for record in caplog.records if record.name == "django_plugchat.views"] == [logged]


def test_values_are_never_echoed(post, caplog):
    secretive = "confidential-5544999999999"
    for key in EXAMPLE:
        response = post(callback_with(**{key: [secretive]}))
        assert response.status_code == 400
        assert secretive not in response.text
    for rejected in RejectedCallback.objects.all():
        assert secretive not in json.dumps(rejected.errors)
        assert secretive not in str(rejected)
    assert secretive not in caplog.text
    assert "5544999999999" not in caplog.text


def test_a_repeated_refusal_is_counted(post):
    for _ in range(3):
        assert post(b"{").status_code == 400
    rejected = RejectedCallback.objects.get()
    assert rejected.times_received == 3
    assert rejected.last_received_at > rejected.received_at
    # Told is what the last one was refused for, and by which secret it came.
    RejectedCallback.objects.update(reason="invalid", errors={"phone": ["blank"]})
    assert post(b"{", url="/plugchat/callback/retiring-secret-of-the-default-account/").status_code == 400
    rejected.refresh_from_db()
    assert (rejected.reason, rejected.errors) == ("not_json", {})
    assert rejected.secret_id == secret_id("retiring-secret-of-the-default-account")
    assert post(b"{", url="/plugchat/callback/secret-of-the-account-norte/").status_code == 400
    assert RejectedCallback.objects.for_account("norte").count() == 1


def test_over_the_limit_refusals_are_answered_and_logged_but_not_kept(post, plugchat, caplog):
    plugchat(MAX_REJECTED=2)
    for body in (b"{1", b"{2", b"{3", b"{1"):
        assert post(body).status_code == 400
    assert [(row.body_text, row.times_received) for row in RejectedCallback.objects.order_by("pk")] == [
        ("{1", 2),
        ("{2", 1),
    ]
    assert [record.name for record in caplog.records if "Not kept" in record.getMessage()] == ["django_plugchat.views"]
    # The limit is each account's own.
    assert post(b"{1", url="/plugchat/callback/secret-of-the-account-norte/").status_code == 400
    assert RejectedCallback.objects.for_account("norte").count() == 1
    plugchat(MAX_REJECTED=0)
    assert post(b"{4").status_code == 400
    assert RejectedCallback.objects.for_account("default").count() == 2


# 200


def test_the_documented_example(post):
    response = post(EXAMPLE)
    assert (response.status_code, response.json()) == (200, {"status": "recorded"})
    assert response.headers["Content-Type"] == "application/json"
    event = DeliveryEvent.objects.get()
    assert (
        event.account,
        event.phone,
        event.zaap_id,
        event.custom_id,
        event.message_id,
        event.type,
        event.instance_id,
    ) == (
        "default",
        "554499999999",
        "A20DA9C0183A2D35A260F53F5D2B9244",
        "123",
        "A20DA9C0183A2D35A260F53F5D2B9244",
        "DeliveryCallback",
        "",
    )
    assert (event.outcome, event.error, event.error_code, event.occurred_at) == ("sent", "", "", None)
    assert (event.times_received, event.received_at) == (1, event.last_received_at)
    assert event.payload == EXAMPLE
    assert event.secret_id == "8a8fe4db"
    assert event.dispatch_status == "none"
    assert str(event) == "A20DA9C0183A2D35A260F53F5D2B9244 (Handed to WhatsApp)"


@pytest.mark.parametrize(
    ("callback", "outcome"),
    [(LIVE_SUCCESS, "sent"), (TO_GROUP, "sent"), (LIVE_ERROR, "failed"), (LIVE_SHADOW_BAN, "failed")],
)
def test_live_callbacks(post, callback, outcome):
    assert post(callback).json() == {"status": "recorded"}
    event = DeliveryEvent.objects.get()
    assert event.outcome == outcome
    assert event.phone == callback["phone"]
    assert event.instance_id == callback["instanceId"]
    assert event.error == callback.get("error", "")
    assert event.error_code == callback.get("errorCode", "")
    assert event.occurred_at == datetime.fromtimestamp(callback["momment"] / 1000, UTC)
    assert event.payload == callback


def test_each_account(post):
    assert post(EXAMPLE, url="/plugchat/callback/secret-of-the-account-norte/").json() == {"status": "recorded"}
    assert post(EXAMPLE, url="/plugchat/callback/retiring-secret-of-the-default-account/").json() == {
        "status": "recorded"
    }
    assert DeliveryEvent.objects.for_account("norte").get().fingerprint != (
        DeliveryEvent.objects.for_account("default").get().fingerprint
    )


def test_without_the_trailing_slash(post):
    assert reverse("plugchat:callback", args=[SECRET]) == URL
    assert post(EXAMPLE, url=URL[:-1]).json() == {"status": "recorded"}
    assert post(EXAMPLE, url=f"{URL}?format=xml", HTTP_ACCEPT="text/html").json() == {"status": "duplicate"}


def test_ids_at_their_limits(post):
    ids = {"phone": "5" * 64, "zaapId": "é" * 255, "customId": "😀" * 255, "messageId": 10**254, "instanceId": -7}
    assert post(EXAMPLE | ids).json() == {"status": "recorded"}
    event = DeliveryEvent.objects.get()
    assert event.custom_id == "😀" * 255
    assert (event.message_id, event.instance_id) == (str(10**254), "-7")
    assert event.payload == EXAMPLE | ids


def test_null_is_absent(post):
    assert (
        post(callback_with(customId=None, messageId=None, instanceId=None, momment=None, error=None)).status_code == 200
    )
    event = DeliveryEvent.objects.get()
    assert (event.custom_id, event.message_id, event.instance_id, event.error, event.outcome) == (
        "",
        "",
        "",
        "",
        "sent",
    )
    assert post(callback_with(customId=..., messageId=...)).json() == {"status": "duplicate"}
    assert post(callback_with(customId="", messageId="")).json() == {"status": "duplicate"}


@pytest.mark.parametrize("key", ["error", "errorCode"])
@pytest.mark.parametrize(
    ("value", "text", "outcome"),
    [
        (None, "", "sent"),
        (False, "false", "sent"),
        ("", "", "sent"),
        ("Timeout on send message", "Timeout on send message", "failed"),
        (" ", " ", "failed"),
        (0, "0", "failed"),
        (True, "true", "failed"),
        ([], "[]", "failed"),
        ({"b": "ã", "a": [1.5]}, '{"a": [1.5], "b": "ã"}', "failed"),
        ("x" * 20_000, "x" * 20_000, "failed"),
        ("a\x00\ud800b", "a\ufffd\ufffdb", "failed"),
    ],
)
def test_errors_of_any_shape(post, key, value, text, outcome):
    assert post(EXAMPLE | {key: value}).json() == {"status": "recorded"}
    event = DeliveryEvent.objects.get()
    assert {"error": event.error, "errorCode": event.error_code} == {"error": "", "errorCode": ""} | {key: text}
    assert event.outcome == outcome
    assert post(EXAMPLE | {key: value}).json() == {"status": "duplicate"}


@pytest.mark.parametrize(
    ("momment", "occurred_at"),
    [
        (1777494091684, datetime(2026, 4, 29, 20, 21, 31, 684000, UTC)),
        (1777494091, datetime(2026, 4, 29, 20, 21, 31, tzinfo=UTC)),
        (1230768000, datetime(2009, 1, 1, tzinfo=UTC)),
        (1230767999, None),
        (1230767999999, None),
        (4102444800, None),
        (4102444800000, None),
        (10**15, None),
        (10**900, None),
        (-1, None),
        (0, None),
        ("1777494091684", None),
        (1777494091684.0, None),
        (True, None),
        ({}, None),
    ],
)
def test_when_it_occurred(post, momment, occurred_at):
    assert post(EXAMPLE | {"momment": momment}).json() == {"status": "recorded"}
    event = DeliveryEvent.objects.get()
    assert event.occurred_at == occurred_at
    assert event.payload["momment"] == momment


def test_when_it_occurred_without_time_zone_support(post, settings):
    """In the site's own time, as Django stores all others then, whatever zone somebody activated."""
    settings.USE_TZ = False
    with timezone.override("Asia/Tokyo"):
        post(EXAMPLE | {"momment": 1777494091684})
    assert DeliveryEvent.objects.get().occurred_at == datetime(2026, 4, 29, 17, 21, 31, 684000)


@pytest.mark.parametrize(
    "value",
    [
        1e23,
        -1.7976931348623157e308,
        5e-324,
        0.1,
        -0.0,
        1e16,
        123456789012345678.0,
        10**999,
        'a "1e+23" \\ b',
        {"1e+30": [1e30, "\\", '"', 1e30]},
        {"": None, "ключ": ["😀", True, False, {}, []]},
        {str(n): n for n in range(3000)},
        "\u2028 \u007f \ufffe",
    ],
)
def test_unknown_keys_are_kept_as_received(post, value):
    callback = EXAMPLE | {"new": value}
    assert post(callback).json() == {"status": "recorded"}
    stored = DeliveryEvent.objects.get().payload
    assert stored == callback
    assert json.dumps(stored["new"]) == json.dumps(value) or value == -0.0 or isinstance(value, dict)


def test_large_floats_are_written_with_a_fraction():
    """PostgreSQL gives 1e+23 back as an integer."""
    assert PayloadEncoder().encode({'"1e+23"': [1e23, 1.0]}) == r'{"\"1e+23\"": [99999999999999991611392.0, 1.0]}'


def test_characters_no_database_holds_are_replaced_in_the_payload(post):
    body = json.dumps(EXAMPLE)[:-1] + r', "a\u0000": ["\ud800", {"\udc00": "\ud83d\ude00"}]}'
    assert post(body).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.get().payload == EXAMPLE | {"a\ufffd": ["\ufffd", {"\ufffd": "😀"}]}


def test_as_deep_as_allowed(post):
    nested: object = 1
    for _ in range(19):
        nested = [nested]
    assert post(EXAMPLE | {"x": nested}).json() == {"status": "recorded"}
    assert post(EXAMPLE | {"x": [nested]}).status_code == 400


# Duplicates


def test_the_same_event_again(post, plugchat, settings):
    assert post(LIVE_SUCCESS).json() == {"status": "recorded"}
    first = DeliveryEvent.objects.get()
    again = dict(reversed(LIVE_SUCCESS.items())) | {"momment": 1, "unknown": "field"}
    body = json.dumps(again, indent=4)
    assert post(body, url="/plugchat/callback/retiring-secret-of-the-default-account/").json() == {
        "status": "duplicate"
    }
    event = DeliveryEvent.objects.get()
    changed = {"times_received": 2, "last_received_at": event.last_received_at, "secret_id": event.secret_id}
    assert event.last_received_at > first.last_received_at
    assert event.secret_id != first.secret_id
    values = [field.attname for field in DeliveryEvent._meta.fields]
    assert {name: getattr(event, name) for name in values} == {name: getattr(first, name) for name in values} | changed


def test_an_error_is_the_same_in_whatever_key_order(post):
    assert post(EXAMPLE | {"error": {"a": 1, "b": 2}}).json() == {"status": "recorded"}
    assert post(EXAMPLE | {"error": {"b": 2, "a": 1}}).json() == {"status": "duplicate"}


@pytest.mark.parametrize(
    "change",
    [
        {"phone": "554499999998"},
        {"customId": "124"},
        {"messageId": "B"},
        {"instanceId": "B"},
        {"error": "Timeout on send message"},
        {"errorCode": "SHADOW_BAN"},
        {"zaapId": "B"},
        {"error": False},
    ],
)
def test_another_event_of_the_same_message(post, change):
    assert post(EXAMPLE).json() == {"status": "recorded"}
    before = DeliveryEvent.objects.values().get()
    assert post(EXAMPLE | change).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.count() == 2
    assert DeliveryEvent.objects.values().get(pk=before["id"]) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"error": {"a": 1}}, {"error": '{"a": 1}'}),
        ({"error": False}, {"error": "false"}),
        ({"customId": "ab", "messageId": "c"}, {"customId": "a", "messageId": "bc"}),
        ({"customId": 'a","b', "messageId": "c"}, {"customId": "a", "messageId": 'b","c'}),
        ({"customId": "ID"}, {"customId": "id"}),
        ({"customId": "id"}, {"customId": "id "}),
        ({"customId": "é"}, {"customId": "e"}),
    ],
)
def test_what_differs_is_never_taken_for_the_same(post, one, other):
    assert post(EXAMPLE | one).json() == {"status": "recorded"}
    assert post(EXAMPLE | other).json() == {"status": "recorded"}


def test_integers_are_taken_as_strings(post):
    assert post(EXAMPLE | {"customId": 123, "phone": 554499999999}).json() == {"status": "recorded"}
    assert post(EXAMPLE).json() == {"status": "duplicate"}


def test_the_fingerprint_never_changes(post):
    post(EXAMPLE | {"error": {"é": 1.5}})
    # Computed when the first version was written: stored rows depend on it.
    assert DeliveryEvent.objects.get().fingerprint == "8b8eb58daa79c2c1f1b754918b334d466c8f313c7dad4e819a27691e820e9c66"


def test_refusals_and_ignored_callbacks_log_no_more_than_needed(post, caplog):
    caplog.set_level(logging.DEBUG, "django_plugchat")
    assert post(EXAMPLE).status_code == 200
    assert post(EXAMPLE).status_code == 200
    assert not [record for record in caplog.records if record.name.startswith("django_plugchat")]
