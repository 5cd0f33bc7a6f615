"""The answers of the callback URL, in the order in which they are decided. ``test_bodies`` has those of its bytes."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from django.urls import reverse

from django_plugchat.conf import secret_id
from django_plugchat.models import DeliveryEvent, RejectedCallback

from .payloads import (
    ATTENDANCE_FINISHED,
    EXAMPLE,
    LIVE_ERROR,
    LIVE_SHADOW_BAN,
    LIVE_SUCCESS,
    READ_BY_ME,
    RETIRING_SECRET,
    SECRET,
    SECRET_OF_NORTE,
    STATUS,
    STATUS_IN_GROUP,
    STATUS_OF_AN_OLD_PAGE,
    STATUS_OF_TWO,
    TO_GROUP,
    URL,
    url_of,
)
from .rows import assert_nothing_stored

pytestmark = pytest.mark.django_db


def test_the_documented_example(post):
    response = post(EXAMPLE)
    assert (response.status_code, response.json()) == (200, {"status": "recorded"})
    assert response.headers["Content-Type"] == "application/json"
    event = DeliveryEvent.objects.get()
    assert event.account == "default"
    assert event.phone == "554499999999"
    assert event.zaap_id == event.message_id == "A20DA9C0183A2D35A260F53F5D2B9244"
    assert event.custom_id == "123"
    assert event.type == "DeliveryCallback"
    assert (event.instance_id, event.participant, event.error, event.error_code) == ("", "", "", "")
    assert (event.outcome, event.occurred_at) == ("sent", None)
    assert (event.times_received, event.received_at) == (1, event.last_received_at)
    assert event.payload == EXAMPLE
    assert event.secret_id == "8a8fe4db"
    assert (event.dispatch_status, event.dispatch_due_at, event.dispatch_attempts) == ("none", None, 0)


# 404


@pytest.mark.parametrize(
    "path",
    [
        "callback/",
        "callback/wrong",
        f"callback/{SECRET}x/",
        f"callback/{SECRET[:-1]}/",
        f"callback/{SECRET}/more/",
        f"callback/{SECRET}//",
        f"callback/{SECRET.upper()}/",
        f"callback/{SECRET}%0A/",
        "callback/%ff%fe/",
        "callback/token-of-the-default-account/",
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
    [
        {},
        {"default": {}},
        {"default": {"WEBHOOK_SECRETS": [""]}},
        {"default": {"WEBHOOK_SECRETS": SECRET}},
        {"default": [SECRET]},
        {1: {"WEBHOOK_SECRETS": [SECRET]}},
        {"a": {"WEBHOOK_SECRETS": [None, 1]}},
        None,
        [SECRET],
    ],
)
def test_what_the_checks_refuse_opens_nothing(plugchat, post, accounts):
    plugchat(ACCOUNTS=accounts)
    for secret in (SECRET, SECRET[0], "None", "1"):
        assert post(EXAMPLE, url=url_of(secret)).status_code == 404


def test_a_token_of_another_type(plugchat, post):
    plugchat(ACCOUNTS={"default": {"TOKEN": 123456, "WEBHOOK_SECRETS": [SECRET]}})
    assert post({"type": "NewCallback"}).json() == {"status": "ignored"}


def test_without_the_setting(settings, post):
    del settings.PLUGCHAT
    assert post(EXAMPLE).status_code == 404
    settings.PLUGCHAT = None
    assert post(EXAMPLE).status_code == 404


def test_a_setting_that_is_changed_in_place_is_read_when_it_is_replaced(settings, post):
    """As documented: to notice it at once, every callback would have to look at all accounts."""
    secrets = [SECRET]
    settings.PLUGCHAT = {"ACCOUNTS": {"default": {"WEBHOOK_SECRETS": secrets}}}
    assert post(EXAMPLE).json() == {"status": "recorded"}
    secrets[:] = ["another-secret-of-the-default-account"]
    assert post(EXAMPLE, url=url_of(secrets[0])).status_code == 404
    settings.PLUGCHAT = {**settings.PLUGCHAT}
    assert post(EXAMPLE, url=url_of(secrets[0])).json() == {"status": "duplicate"}
    assert post(EXAMPLE).status_code == 404


# 405


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
@pytest.mark.parametrize("url", [URL, URL[:-1]])
def test_another_method(client, method, url):
    response = client.generic(method, url, b"{}", content_type="text/plain")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert_nothing_stored()


# 415


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", "", "json"],
)
def test_another_content_type(post, content_type):
    response = post(json.dumps(EXAMPLE), content_type=content_type, CONTENT_LENGTH="70000")
    assert response.status_code == 415
    assert list(response.json()) == ["detail"]
    assert_nothing_stored()


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=x"]
)
def test_json_content_types(post, content_type):
    assert post(EXAMPLE, content_type=content_type).status_code == 200


# 200, ignored


@pytest.mark.parametrize(
    "body",
    [
        READ_BY_ME,
        READ_BY_ME | {"status": "READ-SELF"},
        {"type": "ReceivedCallback"},
        {"type": "PresenceChatCallback"},
        {"type": "ProxyCallback", "error": "http://user:password@proxy"},
    ],
    ids=str,
)
def test_what_is_known_and_not_for_this_app(post, caplog, body):
    caplog.set_level(logging.DEBUG, "django_plugchat")
    response = post(body)
    assert (response.status_code, response.json()) == (200, {"status": "ignored"})
    assert_nothing_stored()
    assert not caplog.records


@pytest.mark.parametrize(
    "body",
    [
        ATTENDANCE_FINISHED,
        {"attendance": None},
        {"attendance": {"customer": {"phone": "554499999999"}}, "type": None},
        {"chat": {"ID_1": {"text": {"message": "texto privado"}}}},
        EXAMPLE | {"type": None, "attendance": {}},
    ],
    ids=str,
)
def test_a_conversation_leaves_nothing(post, caplog, body):
    caplog.set_level(logging.DEBUG)
    assert post(body).json() == {"status": "ignored"}
    assert_nothing_stored()
    for text in ("privado", "momento", "Vendas", "554499999999", "Nome", "FINISH"):
        assert text not in caplog.text


def test_a_conversation_with_a_type_of_ours_is_none(post):
    assert post(EXAMPLE | {"chat": {}}).json() == {"status": "recorded"}
    assert post(STATUS | {"attendance": 1}).json() == {"status": "recorded"}
    assert post({"type": " ", "attendance": {}}).status_code == 400


@pytest.mark.parametrize(
    ("kind", "is_named"),
    [
        ("PaymentCallbackV2", True),
        ("DELIVERED-TO-TABLET", True),
        ("x5544999999999", False),
        ("x" * 65, False),
        ("line\nbreak", False),
        ("tokenOfCentro", False),
        ("a\ud800", False),
        ("T554_498_877_123_4", False),
    ],
)
@pytest.mark.parametrize("key", ["type", "status"])
def test_unknown_types_and_statuses_are_logged_by_name(post, plugchat, settings, caplog, key, kind, is_named):
    default = settings.PLUGCHAT["ACCOUNTS"]["default"] | {"TOKEN": "tokenOfCentro"}
    plugchat(ACCOUNTS={"default": default})
    assert post(STATUS | {key: kind, "text": {"message": "private"}}).json() == {"status": "ignored"}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "'default'" in record.getMessage()
    assert (kind in record.getMessage()) == is_named
    assert "private" not in record.getMessage()
    assert "\n" not in record.getMessage()
    # A later version may know the status. Another type may carry the text of a message.
    assert [row.reason for row in RejectedCallback.objects.all()] == ["unknown_status"] * (key == "status")
    assert not DeliveryEvent.objects.exists()


@pytest.mark.parametrize(
    "rest", ['"x": NaN', '"x": 1e999', f'"x": {"[" * 30}{"]" * 30}', f'"x": {"9" * 5000}', '"phone": {}']
)
@pytest.mark.parametrize(
    "start", ['"type": "ReceivedCallback"', '"type": "MessageStatusCallback", "status": "READ_BY_ME"']
)
def test_what_is_ignored_is_not_judged(post, start, rest):
    assert post(f"{{{start}, {rest}}}").json() == {"status": "ignored"}
    assert_nothing_stored()


# 400, and kept


def with_more(*members: bytes) -> bytes:
    return b", ".join([json.dumps(EXAMPLE).encode()[:-1], *members]) + b"}"


HOSTILE_BODIES = [
    (b"", "not_json"),
    (b"{", "not_json"),
    (json.dumps(EXAMPLE).encode()[:-1], "not_json"),
    (b"[" * 60_000, "not_json"),
    (b'{"a":' * 10_000, "not_json"),
    (json.dumps(EXAMPLE).encode("utf-16"), "not_json"),
    (b"\xef\xbb\xbf\xef\xbb\xbf{}", "not_json"),
    ('{"phone": "é"}'.encode("latin-1"), "not_json"),
    (b'{"phone": "\xed\xa0\x80"}', "not_json"),
    (b'{"a": "\n"}', "not_json"),
    (b"a=b", "not_json"),
    (b"[]", "not_object"),
    (b"null", "not_object"),
    (b"NaN", "not_object"),
    (b'["attendance"]', "not_object"),
    (with_more(b'"x": NaN'), "not_storable"),
    (with_more(b'"x": [-Infinity]'), "not_storable"),
    (with_more(b'"x": 1e999'), "not_storable"),
    (with_more(b'"x": -%s' % (b"9" * 5000)), "not_storable"),
    (with_more(b'"momment": %s' % (b"9" * 1001)), "not_storable"),
    (with_more(b'"x": %s%s' % (b"[" * 20, b"]" * 20)), "not_storable"),
    (with_more(b'"error": %s%s' % (b"[" * 300, b"]" * 300)), "not_storable"),
    (b"{}", "invalid"),
    (b'{"type": "MessageStatusCallback"}', "invalid"),
]


@pytest.mark.parametrize(("body", "reason"), HOSTILE_BODIES)
def test_refused_and_kept_to_the_byte(post, body, reason):
    headers = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}  # also for an empty one
    assert post(body, **headers).status_code == 400
    rejected = RejectedCallback.objects.get()
    assert bytes(rejected.body) == body
    assert (rejected.account, rejected.reason, rejected.times_received) == ("default", reason, 1)
    assert (rejected.secret_id, rejected.received_at) == (secret_id(SECRET), rejected.last_received_at)
    assert bool(rejected.errors) == (reason == "invalid")
    assert not DeliveryEvent.objects.exists()


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (b"{", {"detail"}),
        (b"[]", {"detail"}),
        (b'{"a": NaN}', {"detail"}),
        (b'{"a": %s}' % (b"[" * 20 + b"]" * 20), {"detail"}),
        (b'{"phone": [], "zaapId": " ", "type": 5}', {"phone", "zaapId", "type"}),
        (b'{"type": "MessageStatusCallback", "phone": []}', {"status", "ids", "phone"}),
    ],
)
def test_the_shape_of_a_refusal(post, body, keys):
    answer = post(body).json()
    assert answer.keys() == keys
    assert all(isinstance(said, str if key == "detail" else list) for key, said in answer.items())


SECRETIVE = "confidential-5544999999999"


@pytest.mark.parametrize("callback", [EXAMPLE, STATUS, STATUS_IN_GROUP], ids=lambda callback: callback["type"])
@pytest.mark.parametrize("wrong", [[SECRETIVE], {SECRETIVE: 1}, SECRETIVE * 20, [[SECRETIVE]]], ids=str)
def test_values_are_never_echoed(post, caplog, callback, wrong):
    caplog.set_level(logging.DEBUG)
    for key in callback:
        response = post(callback | {key: wrong})
        assert SECRETIVE not in response.text
        assert "5544999999999" not in response.text
    for rejected in RejectedCallback.objects.all():
        assert "5544999999999" not in json.dumps(rejected.errors) + str(rejected) + repr(rejected)
    own = [record.getMessage() for record in caplog.records if record.name.startswith("django_plugchat")]
    assert "5544999999999" not in " ".join(own)


@pytest.mark.parametrize(
    ("body", "limit", "words"),
    [
        (b"{", 1, ["not_json"]),
        (b'{"type": "DeliveryCallback"}', 1, ["invalid", "phone", "zaapId"]),
        (b"{", 0, ["not_json", "MAX_REJECTED"]),
    ],
)
def test_what_a_refusal_logs(post, plugchat, caplog, body, limit, words):
    plugchat(MAX_REJECTED=limit)
    post(body)
    (logged,) = [record.getMessage() for record in caplog.records if record.name == "django_plugchat.recording"]
    assert all(word in logged for word in ["'default'", *words])
    assert ("MAX_REJECTED" in logged) == (limit == 0)


# 200, recorded


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


@pytest.mark.parametrize(
    ("callback", "outcome"),
    [
        (STATUS, "read"),
        (STATUS_OF_AN_OLD_PAGE, "received"),
        (STATUS_IN_GROUP, "received"),
        (STATUS | {"status": "SENT"}, "sent"),
        (STATUS | {"status": "RECEIVED"}, "received"),
        (STATUS | {"status": "PLAYED"}, "played"),
    ],
)
def test_statuses(post, callback, outcome):
    assert post(callback).json() == {"status": "recorded"}
    event = DeliveryEvent.objects.get()
    assert event.outcome == outcome
    assert event.type == "MessageStatusCallback"
    assert (event.message_id, event.zaap_id, event.custom_id) == (callback["ids"][0], "", "")
    assert (event.phone, event.participant) == (callback["phone"], callback.get("participant", ""))
    assert event.instance_id == callback.get("instanceId", "")
    assert event.occurred_at == datetime.fromtimestamp(callback["momment"] / 1000, UTC)
    assert (event.error, event.error_code, event.failure) == ("", "", "")
    assert event.payload == callback


def test_a_status_of_several_messages(post):
    assert post(STATUS_OF_TWO).json() == {"status": "recorded"}
    first, second = DeliveryEvent.objects.order_by("message_id")
    for event, message_id in ((first, STATUS_OF_TWO["ids"][0]), (second, STATUS_OF_TWO["ids"][1])):
        assert (event.message_id, event.outcome, event.phone) == (message_id, "read", STATUS_OF_TWO["phone"])
        # What is not known to be said about one message is left out.
        assert event.payload == {
            "type": "MessageStatusCallback",
            "status": "READ",
            "ids": [message_id],
            "phone": STATUS_OF_TWO["phone"],
            "instanceId": "instance.id",
            "momment": STATUS_OF_TWO["momment"],
        }
    assert first.received_at == second.received_at
    assert post(STATUS_OF_TWO).json() == {"status": "duplicate"}
    assert post(STATUS_OF_TWO | {"ids": [*STATUS_OF_TWO["ids"], "new"]}).json() == {"status": "recorded"}
    counts = DeliveryEvent.objects.order_by("message_id").values_list("times_received", flat=True)
    assert list(counts) == [3, 3, 1]


def test_each_participant_of_a_group(post):
    for participant in ("5511999999999", "5511999999998", None):
        assert post(STATUS_IN_GROUP | {"participant": participant}).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.count() == 3


def test_statuses_come_in_any_order(post):
    for status in ("READ", "RECEIVED", "PLAYED", "SENT"):
        assert post(STATUS | {"status": status}).json() == {"status": "recorded"}
    assert post(STATUS | {"status": "MESSAGE_RECEIVED"}).json() == {"status": "duplicate"}
    assert DeliveryEvent.objects.progress(STATUS["ids"][0]) == {STATUS["ids"][0]: "played"}


def test_as_many_ids_as_a_status_may_have(post):
    ids = [f"{number:020}" for number in range(1000)]
    assert post(STATUS | {"ids": ids}).json() == {"status": "recorded"}
    assert set(DeliveryEvent.objects.values_list("message_id", flat=True)) == set(ids)
    response = post(STATUS | {"ids": [*ids, "1"]})
    assert (response.status_code, list(response.json())) == (400, ["ids"])
    assert DeliveryEvent.objects.count() == 1000


@pytest.mark.parametrize("more", [{"momment": "x" * 30_000}, {"id": {"a": "x" * 30_000}}])
def test_a_status_of_many_messages_does_not_multiply_what_is_long(post, more):
    ids = [str(number) for number in range(500)]
    assert post(STATUS | {"ids": ids} | more).json() == {"status": "recorded"}
    assert max(len(json.dumps(event.payload)) for event in DeliveryEvent.objects.all()) < 400


def test_each_account(post):
    assert post(EXAMPLE, url=url_of(SECRET_OF_NORTE)).json() == {"status": "recorded"}
    assert post(EXAMPLE, url=url_of(RETIRING_SECRET)).json() == {"status": "recorded"}
    assert post(STATUS, url=url_of(SECRET_OF_NORTE)).json() == {"status": "recorded"}
    assert post(STATUS).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.values("fingerprint").distinct().count() == 4


def test_accounts_that_change_while_running(post, plugchat):
    assert post(EXAMPLE).status_code == 200
    plugchat(ACCOUNTS={"sul": {"WEBHOOK_SECRETS": [SECRET]}})
    assert post(EXAMPLE).json() == {"status": "recorded"}
    assert post(EXAMPLE, url=url_of(RETIRING_SECRET)).status_code == 404
    assert DeliveryEvent.objects.for_account("sul").count() == 1


def test_without_the_trailing_slash(post):
    assert reverse("plugchat:callback", args=[SECRET]) == URL
    assert post(EXAMPLE, url=URL[:-1]).json() == {"status": "recorded"}
    assert post(EXAMPLE, url=f"{URL}?format=xml", HTTP_ACCEPT="text/html").json() == {"status": "duplicate"}


def test_the_token_that_comes_along_is_kept_nowhere(post, caplog):
    caplog.set_level(logging.DEBUG)
    for body in (EXAMPLE, STATUS, "{", {"type": "NewCallback"}):
        post(body, HTTP_Z_API_TOKEN="token-of-the-instance")
    stored = [*DeliveryEvent.objects.values(), *RejectedCallback.objects.values()]
    assert "token-of-the-instance" not in f"{stored} {caplog.text}"


# 200, duplicate


def fields_of(event: DeliveryEvent) -> dict[str, Any]:
    return {field.attname: getattr(event, field.attname) for field in event._meta.fields}


@pytest.mark.parametrize("callback", [LIVE_SUCCESS, LIVE_ERROR, STATUS, STATUS_IN_GROUP], ids=str)
def test_the_same_event_again(post, callback):
    assert post(callback).json() == {"status": "recorded"}
    first = DeliveryEvent.objects.get()
    again = dict(reversed(callback.items())) | {"momment": 1, "unknown": "field"}
    assert post(json.dumps(again, indent=4), url=url_of(RETIRING_SECRET)).json() == {"status": "duplicate"}
    event = DeliveryEvent.objects.get()
    assert event.last_received_at > first.last_received_at
    assert fields_of(event) == fields_of(first) | {
        "times_received": 2,
        "last_received_at": event.last_received_at,
        "secret_id": secret_id(RETIRING_SECRET),
    }


def test_nothing_is_logged_of_what_is_stored(post, caplog):
    caplog.set_level(logging.DEBUG, "django_plugchat")
    for body in (EXAMPLE, EXAMPLE, STATUS_OF_TWO, STATUS_OF_TWO):
        assert post(body).status_code == 200
    assert not [record for record in caplog.records if record.name.startswith("django_plugchat")]
