"""What a callback's JSON is taken for: fields, outcomes, times, fingerprints, payloads."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.exceptions import APIException

from django_plugchat import payloads, serializers
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
    return serializers.read(payloads.parse(json.dumps(value).encode()))


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
    ],
)
def test_unusable_fields_of_a_delivery(key, value, code):
    assert refusal(changed(EXAMPLE, **{key: value})) == {key: [code]}


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("status", ..., "required"),
        ("status", None, "required"),
        ("status", "", "invalid_choice"),
        ("status", " ", "invalid_choice"),
        ("status", 5, "invalid_choice"),
        ("status", ["READ"], "invalid_choice"),
        ("ids", ..., "required"),
        ("ids", None, "required"),
        ("ids", "3EB0", "not_a_list"),
        ("ids", {"3EB0": 1}, "not_a_list"),
        ("ids", [], "empty"),
        ("ids", ["A"] * 1001, "max_items"),
        ("ids", ["A", ""], "blank"),
        ("ids", ["A", " "], "blank"),
        ("ids", ["A", None], "invalid"),
        ("ids", ["A", ["B"]], "invalid"),
        ("ids", ["A", True], "invalid"),
        ("ids", ["A", 1.5], "invalid"),
        ("ids", ["A" * 256], "max_length"),
        ("ids", ["A", "\x00"], "characters"),
        ("ids", ["A", "\ud800"], "characters"),
        ("phone", "5" * 65, "max_length"),
        ("phone", ["5"], "invalid"),
        ("participant", "5" * 65, "max_length"),
        ("participant", False, "invalid"),
        ("participant", "\x00", "characters"),
        ("instanceId", "A" * 256, "max_length"),
        ("instanceId", {}, "invalid"),
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
        (0.0, "0.0", "failed"),
        (True, "true", "failed"),
        ([], "[]", "failed"),
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
        ("1777494091", datetime(2026, 4, 29, 20, 21, 31, tzinfo=UTC)),
        (1230768000, datetime(2009, 1, 1, tzinfo=UTC)),
        (1230768000000, datetime(2009, 1, 1, tzinfo=UTC)),
        (1230767999, None),
        (1230767999999, None),
        ("1230767999", None),
        (4102444800, None),
        (4102444800000, None),
        (10**11 - 1, None),
        (10**14 + 1, None),
        (10**15, None),
        (10**900, None),
        (-1, None),
        (0, None),
        (1777494091684.0, None),
        (True, None),
        ({}, None),
        ([1777494091684], None),
        ("", None),
        ("-1777494091", None),
        ("+1777494091", None),
        (" 1777494091", None),
        ("1777494091.5", None),
        ("1_777_494_091", None),
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
        (EXAMPLE, "default", "3a88f9a5c4ad036b484c246c66db9df58d37824e2c0145c5a6f8df389c31da2d"),
        (EXAMPLE, "norte", "ec2c24153fd53a6e0d32af77f9a1c67eccb2d0358323f2cb1596508b0b04dced"),
        (LIVE_SUCCESS, "default", "e4a295f58438204e687c410c038c0e23bfc82de9b46e6ecac0c4deb4852eec13"),
        (LIVE_ERROR, "default", "5f1cf61673d3c0c8ebec83243d67ace193f5223f113db6304f25a755dd163dc4"),
        (LIVE_SHADOW_BAN, "norte", "18de26f6ba3ca491ba80cb234b0f2ce6a023e6f8c4f8d30c19ca61e522b42816"),
        (TO_GROUP, "default", "879738e58b7c87cbe4a4532ced6ab5e05b496e52c7522c5671ad488db5c99107"),
        (
            {"phone": "1", "zaapId": "2", "type": "DeliveryCallback"},
            "default",
            "ca03cf7a5e7c0e60b9be248a3dd2398c04cfc93eaadc28d3d93a1480b1059a55",
        ),
        (
            EXAMPLE | {"error": {"é": 1.5}},
            "default",
            "8b8eb58daa79c2c1f1b754918b334d466c8f313c7dad4e819a27691e820e9c66",
        ),
        (
            EXAMPLE | {"error": [{"b": 1, "a": None}, "x"], "errorCode": False},
            "default",
            "dd55dc1e4d396c729a302b6c17f85fe90e83713194a0e3d513cedbd8c7941093",
        ),
        (
            EXAMPLE | {"customId": 124, "phone": 554499999998},
            "default",
            "6c0cb1737f917e7525e42492734026440c7d2f6cfce1cb6124160dc595daeb8d",
        ),
        (
            EXAMPLE | {"customId": "é😀", "error": "a\x00b"},
            "norte",
            "c49eaa8cdced2a4ee63aac82e11e0d0d15f15309fda62147cba1409b50380b1a",
        ),
        (EXAMPLE | {"error": 1e23}, "default", "a217090b6a3bf15d1a602531daf7be2242001971df2a64d739b466456f5994cf"),
        (EXAMPLE | {"error": "\ud800"}, "default", "daa1350fba155120d7ea895db5591a9fdfc3c42c8837877bfa58971f4057dfa4"),
        (EXAMPLE | {"error": 0.0}, "default", "0d3659983fc4d2c9079356ba96d6f6d13bbd3523fc03991d73f9006927a649ec"),
        (STATUS, "default", "7652b7ae1e84064d7c0a0378d0b29017cab8f172fc38ce31924bb4131c7e0ba4"),
        (STATUS_IN_GROUP, "norte", "4f2496693df6e88fdae2490c770a85dbedfd4b3bef6b97d18f71fd842f6df9af"),
    ],
)
def test_fingerprints_never_change(body, account, fingerprint):
    """Stored rows depend on them. These were computed when the first version, for statuses the second, was written."""
    assert callback(body).fingerprint(account) == fingerprint


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


def test_an_account_is_part_of_it():
    for body in (EXAMPLE, STATUS):
        assert callback(body).fingerprint("a") != callback(body).fingerprint("b")


def test_an_error_is_the_same_in_whatever_key_order():
    one, other = EXAMPLE | {"error": {"a": 1, "b": [2]}}, EXAMPLE | {"error": {"b": [2], "a": 1}}
    assert callback(one).fingerprint("a") == callback(other).fingerprint("a")


# What is ignored


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ({"type": "ReceivedCallback"}, Ignored("ReceivedCallback", is_known=True)),
        ({"type": "NewCallback"}, Ignored("NewCallback", is_known=False)),
        (STATUS | {"status": "READ-SELF"}, Ignored("READ-SELF", is_known=True)),
        (STATUS | {"status": "read"}, Ignored("read", is_known=False)),
        (json.loads(ATTENDANCE_FINISHED), Ignored("", is_known=True)),
        (EXAMPLE, None),
        (STATUS, None),
        (changed(STATUS, status=...), None),
        (STATUS | {"status": []}, None),
        ({}, None),
        ({"type": 5, "chat": {}}, None),
        ([], None),
        ("attendance", None),
        (None, None),
    ],
)
def test_what_is_ignored(body, ignored):
    assert serializers.ignored(body) == ignored


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
        "-1e300",
        "1e15",
        "1e9",
        "1e4",
        "1E3",
        "12e3",
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
def test_a_payload_takes_hardly_more_than_what_came(post, item):
    items = ",".join([item] * (60_000 // (len(item.encode()) + 1)))
    body = f'{json.dumps(EXAMPLE)[:-1]}, "x":[{items}]}}'
    assert post(body).json() == {"status": "recorded"}
    with connection.cursor() as cursor:
        cursor.execute(SIZE_STORED[connection.vendor])
        (size,) = cursor.fetchone()
    # PostgreSQL keeps a number in 12 to 16 bytes, however short it is written.
    assert size <= (5 if connection.vendor == "postgresql" else 2) * len(body.encode())


def test_where_numbers_and_texts_meet():
    """Floats are shortened, texts and integers stay as they are."""
    for value in (
        [1e4, 100000, "1e4", "10000.0"],
        {"10000.0": -1e15},
        ['"', 20000.0, '\\"30000.0', "40000.0"],
        [1.0001],
    ):
        written = json.dumps(value, cls=payloads.PayloadEncoder)
        assert json.loads(written) == value
        assert [type(item) for item in json.loads(written)] == [type(item) for item in value]
    assert json.dumps([1e4, -1e15, 1.5], cls=payloads.PayloadEncoder) == "[1e4,-1e15,1.5]"


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
    assert private[0] not in repr(serializers.ignored({"type": private[0]}))
