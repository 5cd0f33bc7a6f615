"""What a callback's JSON is taken for: fields, outcomes, times, fingerprints, payloads."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.exceptions import APIException

from django_plugchat import serializers
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.serializers import Callback, Ignored

from .payloads import (
    ATTENDANCE_FINISHED,
    EXAMPLE,
    LIVE_ERROR,
    LIVE_SHADOW_BAN,
    LIVE_SUCCESS,
    STATUS,
    STATUS_IN_GROUP,
    STATUS_OF_TWO,
    TO_GROUP,
)


def callbacks(value: Any) -> tuple[Callback, ...]:
    """As the view reads it."""
    said = serializers.read(json.dumps(value).encode())
    assert isinstance(said, tuple)
    return said


def callback(value: Any) -> Callback:
    (only,) = callbacks(value)
    return only


def refusal(value: Any) -> Any:
    with pytest.raises(APIException) as raised:
        callbacks(value)
    return raised.value.get_codes()


def changed(callback: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (callback | changes).items() if value is not ...}


# Fields


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("phone", ..., "required"),
        ("type", ..., "required"),
        ("zaapId", None, "required"),
        ("phone", "", "blank"),
        ("zaapId", " \t", "blank"),
        ("type", "", "invalid_choice"),
        ("type", 5, "invalid_choice"),
        ("type", ["DeliveryCallback"], "invalid_choice"),
        ("phone", "5" * 65, "max_length"),
        ("phone", {"number": "554499999999"}, "invalid"),
        ("phone", True, "invalid"),
        ("phone", 554499999999.0, "invalid"),
        ("phone", "55\x0044", "characters"),
        ("zaapId", "A" * 256, "max_length"),
        ("zaapId", 10**255, "max_length"),
        ("zaapId", "\ud800", "characters"),
        ("customId", {"id": 1}, "invalid"),
        ("customId", "A" * 256, "max_length"),
        ("messageId", False, "invalid"),
        ("messageId", "\x00", "characters"),
        ("instanceId", [], "invalid"),
    ],
)
def test_unusable_fields_of_a_delivery(key, value, code):
    assert refusal(changed(EXAMPLE, **{key: value})) == {key: [code]}


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("status", ..., "required"),
        ("status", "", "invalid_choice"),
        ("status", 5, "invalid_choice"),
        ("ids", ..., "required"),
        ("ids", "3EB0", "not_a_list"),
        ("ids", [], "empty"),
        ("ids", ["A"] * 1001, "max_items"),
        ("ids", ["A", ""], "blank"),
        ("ids", ["A", None], "invalid"),
        ("ids", ["A", True], "invalid"),
        ("ids", ["A" * 256], "max_length"),
        ("ids", ["A", "\x00"], "characters"),
        ("phone", "5" * 65, "max_length"),
        ("participant", "5" * 65, "max_length"),
        ("participant", False, "invalid"),
        ("instanceId", "A" * 256, "max_length"),
    ],
)
def test_unusable_fields_of_a_status(key, value, code):
    assert refusal(changed(STATUS_IN_GROUP, **{key: value})) == {key: [code]}


def test_the_id_of_an_old_page():
    old = changed(STATUS, ids=..., id="A")
    assert callback(old).message_id == "A"
    assert callback(old).payload == old
    assert callback(old | {"ids": None}).message_id == "A"
    assert callback(old | {"ids": ["B"]}).message_id == "B"
    assert refusal(old | {"id": ["A"]}) == {"ids": ["invalid"]}
    assert refusal(old | {"id": None}) == {"ids": ["required"]}


def test_only_what_is_wrong_is_named():
    assert refusal({"phone": [], "type": 5}) == {
        "phone": ["invalid"],
        "zaapId": ["required"],
        "type": ["invalid_choice"],
    }
    assert refusal([]) == "not_object"


def test_ids_at_their_limits():
    ids = {"phone": "5" * 64, "zaapId": "é" * 255, "customId": "😀" * 255, "messageId": 10**254, "instanceId": -7}
    read = callback(EXAMPLE | ids)
    assert (read.phone, read.zaap_id, read.custom_id) == ("5" * 64, "é" * 255, "😀" * 255)
    assert (read.message_id, read.instance_id) == (str(10**254), "-7")
    assert read.payload == EXAMPLE | ids


def test_integers_are_taken_as_strings():
    assert callback(EXAMPLE | {"customId": 123, "phone": 554499999999}).fingerprint("a") == callback(
        EXAMPLE
    ).fingerprint("a")
    status = callback(STATUS | {"ids": [7], "phone": 1, "participant": 2, "instanceId": 3})
    assert (status.message_id, status.phone, status.participant, status.instance_id) == ("7", "1", "2", "3")
    assert status.payload["ids"] == [7]


def test_null_is_absent():
    nothing = dict.fromkeys(("customId", "messageId", "instanceId", "momment", "error", "errorCode"))
    read = callback(EXAMPLE | nothing)
    assert (read.custom_id, read.message_id, read.instance_id, read.error, read.outcome) == ("", "", "", "", "sent")
    for same in (changed(EXAMPLE, customId=..., messageId=...), EXAMPLE | {"customId": "", "messageId": ""}):
        assert callback(same).fingerprint("a") == read.fingerprint("a")
    status = callback(STATUS | dict.fromkeys(("phone", "participant", "instanceId", "momment")))
    assert (status.phone, status.participant, status.instance_id, status.occurred_at) == ("", "", "", None)


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
        ({}, "{}", "failed"),
        ({"b": "ã", "a": [1.5]}, '{"a": [1.5], "b": "ã"}', "failed"),
        ("x" * 20_000, "x" * 20_000, "failed"),
        ("a\x00\ud800b", "a\ufffd\ufffdb", "failed"),
        ({"\x00": "\udfff"}, '{"\ufffd": "\ufffd"}', "failed"),
    ],
)
def test_errors_of_any_shape(key, value, text, outcome):
    read = callback(EXAMPLE | {key: value})
    assert {"error": read.error, "errorCode": read.error_code} == {"error": "", "errorCode": ""} | {key: text}
    assert read.outcome == outcome


# Times


@pytest.mark.parametrize(
    ("momment", "occurred_at"),
    [
        (1777494091684, datetime(2026, 4, 29, 20, 21, 31, 684000, UTC)),
        (1777494091, datetime(2026, 4, 29, 20, 21, 31, tzinfo=UTC)),
        ("1777494091684", datetime(2026, 4, 29, 20, 21, 31, 684000, UTC)),
        (1230768000, datetime(2009, 1, 1, tzinfo=UTC)),
        (1230768000000, datetime(2009, 1, 1, tzinfo=UTC)),
        (1230767999, None),
        (1230767999999, None),
        (10**11 - 1, None),
        (10**14 + 1, None),
        (10**900, None),
        (0, None),
        (1777494091684.0, None),
        (True, None),
        ({}, None),
        ("", None),
        ("-1777494091", None),
        (" 1777494091", None),
        ("\uff11777494091", None),
        ("2026-04-29T20:21:31Z", None),
        ("0" * 10 + "1777494091", None),
        ("9" * 5000, None),
    ],
)
@pytest.mark.parametrize("body", [EXAMPLE, STATUS], ids=["delivery", "status"])
def test_when_it_occurred(body, momment, occurred_at):
    read = callback(body | {"momment": momment})
    assert read.occurred_at == occurred_at
    assert read.payload["momment"] == momment


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_provider_whose_clock_is_ahead(unit):
    hour = 3600
    soon, later = int(time.time()) + 23 * hour, int(time.time()) + 25 * hour
    assert callback(EXAMPLE | {"momment": soon * unit}).occurred_at == datetime.fromtimestamp(soon, UTC)
    assert callback(EXAMPLE | {"momment": later * unit}).occurred_at is None


def test_when_it_occurred_without_time_zone_support(settings):
    """In the site's own time, as Django stores all others then, whatever zone somebody activated."""
    settings.USE_TZ = False
    with timezone.override("Asia/Tokyo"):
        read = callback(EXAMPLE | {"momment": 1777494091684})
    assert read.occurred_at == datetime(2026, 4, 29, 17, 21, 31, 684000)


# Statuses


def test_each_id_is_one_callback():
    first, second = callbacks(STATUS_OF_TWO | {"id": "old", "text": {"message": "private"}})
    assert [first.message_id, second.message_id] == STATUS_OF_TWO["ids"]
    assert first.fingerprint("a") != second.fingerprint("a")
    for read in (first, second):
        assert read.payload["ids"] == [read.message_id]
        assert not {"text", "isGroup", "phoneDevice"} & read.payload.keys()


def test_an_id_that_comes_twice():
    assert [read.message_id for read in callbacks(STATUS | {"ids": ["A", "B", "A"]})] == ["A", "B"]
    same = callback(STATUS | {"ids": ["7", 7]})
    assert same.message_id == "7"
    # "A" and "a" are two.
    assert len(callbacks(STATUS | {"ids": ["A", "a", "a "]})) == 3


# Fingerprints


@pytest.mark.parametrize(
    ("body", "account", "fingerprint"),
    [
        (EXAMPLE, "default", "3a88f9a5-c4ad-536b-884c-246c66db9df5"),
        (EXAMPLE, "norte", "ec2c2415-3fd5-5a6e-8d32-af77f9a1c67e"),
        (LIVE_SUCCESS, "default", "e4a295f5-8438-504e-a87c-410c038c0e23"),
        (LIVE_ERROR, "default", "5f1cf616-73d3-50c8-abec-83243d67ace1"),
        (LIVE_SHADOW_BAN, "norte", "18de26f6-ba3c-5491-ba80-cb234b0f2ce6"),
        (TO_GROUP, "default", "879738e5-8b7c-57cb-a4a4-532ced6ab5e0"),
        (
            {"phone": "1", "zaapId": "2", "type": "DeliveryCallback"},
            "default",
            "ca03cf7a-5e7c-5e60-b9be-248a3dd2398c",
        ),
        (
            EXAMPLE | {"error": [{"b": 1, "a": None}, "x"], "errorCode": False},
            "default",
            "dd55dc1e-4d39-5c72-9a30-2b6c17f85fe9",
        ),
        (
            EXAMPLE | {"customId": "é😀", "error": "a\x00b"},
            "norte",
            "c49eaa8c-dced-5a4e-a63a-ac82e11e0d0d",
        ),
        (EXAMPLE | {"error": 1e23}, "default", "a217090b-6a3b-515d-9a60-2531daf7be22"),
        (EXAMPLE | {"error": "\ud800"}, "default", "daa1350f-ba15-5120-97ea-895db5591a9f"),
        (EXAMPLE | {"error": 0.0}, "default", "0d365998-3fc4-52c9-8793-56ba96d6f6d1"),
        (STATUS, "default", "7652b7ae-1e84-564d-bc0a-0378d0b29017"),
        (STATUS_IN_GROUP, "norte", "4f249669-3df6-588f-9ae2-490c770a85db"),
    ],
)
def test_fingerprints_never_change(body, account, fingerprint):
    """Stored rows depend on them. These were computed when the first version, for statuses the second, was written."""
    assert str(callback(body).fingerprint(account)) == fingerprint


@pytest.mark.parametrize(
    ("body", "key", "value"),
    [
        *(
            (EXAMPLE, key, "B")
            for key in ("phone", "zaapId", "customId", "messageId", "instanceId", "error", "errorCode")
        ),
        (EXAMPLE, "error", False),
        *((STATUS_IN_GROUP, key, "B") for key in ("phone", "participant", "instanceId")),
        (STATUS_IN_GROUP, "ids", ["B"]),
        (STATUS_IN_GROUP, "status", "READ"),
    ],
)
def test_what_makes_another_event(body, key, value):
    assert callback(body).fingerprint("a") != callback(body | {key: value}).fingerprint("a")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"error": {"a": 1}}, {"error": '{"a": 1}'}),
        ({"error": False}, {"error": "false"}),
        ({"error": 1}, {"error": True}),
        ({"error": "x"}, {"errorCode": "x"}),
        ({"customId": "ab", "messageId": "c"}, {"customId": "a", "messageId": "bc"}),
        ({"customId": 'a","b', "messageId": "c"}, {"customId": "a", "messageId": 'b","c'}),
        ({"customId": "ID"}, {"customId": "id"}),
        ({"customId": "id"}, {"customId": "id "}),
        ({"customId": "é"}, {"customId": "e"}),
        ({"customId": "é"}, {"customId": "e\u0301"}),
    ],
)
def test_what_differs_is_never_taken_for_the_same(one, other):
    assert callback(EXAMPLE | one).fingerprint("a") != callback(EXAMPLE | other).fingerprint("a")


@pytest.mark.parametrize("body", [LIVE_ERROR, STATUS_IN_GROUP])
@pytest.mark.parametrize("change", [{"momment": 1}, {"momment": None}, {"unknown": [1]}, {"phoneDevice": 86}])
def test_what_makes_no_other_event(body, change):
    assert callback(body).fingerprint("a") == callback(dict(reversed((body | change).items()))).fingerprint("a")


def test_an_error_is_the_same_in_whatever_key_order():
    one, other = EXAMPLE | {"error": {"a": 1, "b": [2]}}, EXAMPLE | {"error": {"b": [2], "a": 1}}
    assert callback(one).fingerprint("a") == callback(other).fingerprint("a")


# What is ignored


def said(value: Any) -> Any:
    return serializers.read(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ({"type": "ReceivedCallback"}, Ignored()),
        ({"type": "NewCallback"}, Ignored("NewCallback")),
        (STATUS | {"status": "READ-SELF"}, Ignored()),
        (STATUS | {"status": "read"}, Ignored("read", is_status=True)),
        (json.loads(ATTENDANCE_FINISHED), Ignored()),
    ],
)
def test_what_is_ignored(body, ignored):
    assert said(body) == ignored


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ({"type": 5, "chat": {}, "phone": "5", "zaapId": "A"}, {"type": ["invalid_choice"]}),
        ("attendance", "not_object"),
        (None, "not_object"),
    ],
)
def test_what_is_refused_and_not_ignored(body, codes):
    assert refusal(body) == codes


# Payloads, which each database stores in its own way


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value",
    [
        5e-324,
        0.1,
        -0.0,
        1e4,
        1e15,
        -12300000.0,
        100000.5,
        9007199254740993,
        10**999,
        -(10**999),
        10000,
        'a "1e+23" \\ b',
        '100000.0 "100000.0" \\"100000.0',
        {"100000.0": [100000.0, "\\", 20000.0, '"', "30000.0"]},
        {"": None, "ключ": ["😀", True, False, {}, []]},
        {str(n): n for n in range(3000)},
        "\u2028 \u007f \ufffe \x1f",
    ],
    ids=lambda value: json.dumps(value)[:20],
)
def test_unknown_keys_are_kept_as_received(post, value):
    body = EXAMPLE | {"new": value}
    assert post(body).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.get().payload == body


@pytest.mark.django_db
@pytest.mark.parametrize("value", [1e16, 1e23, 123456789012345678.0, -1.7976931348623157e308])
def test_large_floats_are_kept_as_numbers(post, value):
    """PostgreSQL gives them back as integers."""
    assert post(EXAMPLE | {"new": value}).json() == {"status": "recorded"}
    assert float(DeliveryEvent.objects.get().payload["new"]) == value


@pytest.mark.django_db
def test_characters_no_database_holds_are_replaced_in_the_payload(post):
    body = json.dumps(EXAMPLE)[:-1] + r', "a\u0000": ["\ud800", {"\udc00": "\ud83d\ude00"}]}'
    assert post(body).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.get().payload == EXAMPLE | {"a\ufffd": ["\ufffd", {"\ufffd": "😀"}]}


@pytest.mark.django_db
@pytest.mark.parametrize("body", [EXAMPLE, STATUS], ids=["delivery", "status"])
def test_as_deep_as_allowed(post, body):
    nested: object = 1
    for _ in range(19):
        nested = [nested]
    assert post(body | {"x": nested}).json() == {"status": "recorded"}
    assert post(body | {"x": [nested]}).status_code == 400
    assert RejectedCallback.objects.get().reason == "not_storable"


SIZE_STORED = {
    "sqlite": "SELECT length(CAST(payload AS blob)) FROM django_plugchat_deliveryevent",
    "mysql": "SELECT octet_length(payload) FROM django_plugchat_deliveryevent",
    # As stored, which is compressed, and as it is in memory.
    "postgresql": "SELECT pg_column_size(payload || '{}') FROM django_plugchat_deliveryevent",
}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "item",
    [
        "1e300",
        "1e4",
        "1e-9",
        "5e-324",
        "0.1",
        "[[[[1234]]]]",
        '"é"',
        '"\\u00e9"',
        '"\\u0000"',
        '"\\u001f"',
        '"\\ud83d\\ude00"',
        '"\\""',
        '{"a":12345}',
        "true",
    ],
)
@pytest.mark.parametrize("key", ["x", "error"])
def test_what_is_stored_is_at_most_five_times_what_came(post, key, item):
    items = ",".join([item] * (60_000 // (len(item.encode()) + 1)))
    body = f'{json.dumps(EXAMPLE)[:-1]}, "{key}":[{items}]}}'
    response = post(body)
    if response.status_code == 400:
        assert RejectedCallback.objects.get().reason == "not_storable"
        return
    with connection.cursor() as cursor:
        cursor.execute(SIZE_STORED[connection.vendor])
        (size,) = cursor.fetchone()
    assert size + len(DeliveryEvent.objects.get().error.encode()) <= 5 * len(body.encode())


# What is shown of them


@pytest.mark.parametrize(
    ("body", "private"),
    [
        (LIVE_ERROR, [LIVE_ERROR["phone"], LIVE_ERROR["zaapId"], LIVE_ERROR["error"]]),
        (STATUS_IN_GROUP, [STATUS_IN_GROUP["phone"], STATUS_IN_GROUP["participant"], *STATUS_IN_GROUP["ids"]]),
    ],
)
def test_a_representation_shows_nothing_private(body, private):
    assert not [text for text in private if text in repr(callback(body))]
    # Whoever posts it chooses its name.
    assert private[0] not in repr(said({"type": private[0]}))
    assert private[0] not in repr(said({"type": "ConnectedCallback", "instanceId": private[0]}))
