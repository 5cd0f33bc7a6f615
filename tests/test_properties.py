"""Any bytes, any JSON, any near-valid callback."""

import gzip
import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, example, given, settings, strategies as st

from django_plugchat import recording
from django_plugchat.models import DeliveryEvent, RejectedCallback

from .payloads import ATTENDANCE_FINISHED, EXAMPLE, STATUS_IN_GROUP, URL

pytestmark = pytest.mark.django_db

# The fixtures hold nothing that an example could change for the next one: each begins with empty tables.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(text, children, max_size=4),
    max_leaves=10,
)
ids = text.filter(str.strip) | st.integers()
KEYS = ["phone", "zaapId", "type", "customId", "messageId", "instanceId", "error", "errorCode", "momment"]
STATUS_KEYS = ["type", "status", "ids", "id", "phone", "participant", "instanceId", "momment"]
deliveries = st.fixed_dictionaries(
    {"phone": ids, "zaapId": ids, "type": st.just("DeliveryCallback")},
    optional={
        "customId": ids | st.none(),
        "messageId": ids | st.none(),
        "instanceId": ids | st.none(),
        "error": json_values,
        "errorCode": json_values,
        "momment": json_values,
    },
)
statuses = st.fixed_dictionaries(
    {
        "type": st.just("MessageStatusCallback"),
        "status": st.sampled_from(["SENT", "RECEIVED", "MESSAGE_RECEIVED", "READ", "PLAYED"]),
        "ids": st.lists(ids, min_size=1, max_size=5),
    },
    optional={
        "phone": ids | st.none(),
        "participant": ids | st.none(),
        "instanceId": ids | st.none(),
        "momment": json_values,
    },
)


def unknown_keys(known: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(text.filter(lambda key: key not in known), json_values, max_size=4)


def post(body: bytes, **extra: Any) -> Any:
    length = str(len(body))  # also of an empty one
    return Client().generic("POST", URL, body, CONTENT_TYPE="application/json", CONTENT_LENGTH=length, **extra)


def forget() -> None:
    DeliveryEvent.objects.all().delete()
    RejectedCallback.objects.all().delete()


def assert_answer_is_true(body: bytes, **extra: Any) -> None:
    forget()
    response = post(body, **extra)
    stored = (DeliveryEvent.objects.exists(), RejectedCallback.objects.count())
    if response.status_code == 200:
        # A status that nobody knows yet is kept, too.
        kept = RejectedCallback.objects.filter(reason="unknown_status").count()
        assert stored == {"recorded": (True, 0), "ignored": (False, kept)}[response.json()["status"]]
    else:
        assert (response.status_code, stored) == (400, (False, 1))
        rejected = RejectedCallback.objects.get()
        assert bytes(rejected.body) == body or extra
        again = post(body, **extra)
        assert (again.status_code, RejectedCallback.objects.get().times_received) == (400, 2)
        # What is wrong with it today is wrong when it is tried again, unless that was its encoding.
        assert recording.replay(rejected) is None or extra


@examples
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example(b'{"type": "DeliveryCallback", "phone": "1", "zaapId": "\\ud800"}')
@example(ATTENDANCE_FINISHED)
def test_any_bytes(body):
    assert_answer_is_true(body)


@examples
@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]), st.booleans(), st.integers(0, 200))
def test_any_bytes_that_claim_to_be_compressed(body, coding, truly, position):
    if truly:
        compressed = gzip.compress(json.dumps(EXAMPLE).encode())
        body = compressed[:position] + body[:1] + compressed[position + 1 :]
    assert_answer_is_true(body, HTTP_CONTENT_ENCODING=coding)


@examples
@given(json_values)
@example({"type": "Some\ncallback"})
@example({"attendance": 1})
def test_any_json(value):
    assert_answer_is_true(json.dumps(value).encode())


@examples
@given(st.dictionaries(st.sampled_from(KEYS) | text, json_values, max_size=6), st.sets(st.sampled_from(KEYS)))
def test_any_near_valid_delivery(changes, missing):
    callback = {key: value for key, value in (EXAMPLE | changes).items() if key not in missing}
    assert_answer_is_true(json.dumps(callback).encode())


@examples
@given(
    st.dictionaries(st.sampled_from(STATUS_KEYS) | text, json_values, max_size=6), st.sets(st.sampled_from(STATUS_KEYS))
)
@example({"status": "0"}, set())
def test_any_near_valid_status(changes, missing):
    callback = {key: value for key, value in (STATUS_IN_GROUP | changes).items() if key not in missing}
    assert_answer_is_true(json.dumps(callback).encode())


def reordered(callback: dict[str, Any], random: Any) -> bytes:
    items = list(callback.items())
    random.shuffle(items)
    return json.dumps(dict(items), indent=2, ensure_ascii=False).encode()


@examples
@given(deliveries, unknown_keys(KEYS), st.randoms())
def test_a_delivery_that_is_accepted_can_be_read_back(callback, unknown, random):
    forget()
    callback |= unknown
    assert post(json.dumps(callback).encode()).json() == {"status": "recorded"}
    event = DeliveryEvent.objects.get()
    assert event.payload == callback
    assert (event.phone, event.zaap_id) == (str(callback["phone"]), str(callback["zaapId"]))
    assert post(reordered(callback, random)).json() == {"status": "duplicate"}
    assert DeliveryEvent.objects.get().times_received == 2


@examples
@given(statuses, unknown_keys(STATUS_KEYS), st.randoms())
def test_a_status_that_is_accepted_can_be_read_back(callback, unknown, random):
    forget()
    callback |= unknown
    assert post(json.dumps(callback).encode()).json() == {"status": "recorded"}
    said = {str(message_id) for message_id in callback["ids"]}
    events = {event.message_id: event for event in DeliveryEvent.objects.all()}
    assert events.keys() == said
    for message_id, event in events.items():
        assert {str(named) for named in event.payload["ids"]} == {message_id}
        assert event.payload == callback or len(said) > 1
    assert DeliveryEvent.objects.progress(*said).keys() == said
    random.shuffle(callback["ids"])
    assert post(reordered(callback, random)).json() == {"status": "duplicate"}
    assert set(DeliveryEvent.objects.values_list("times_received", flat=True)) == {2}
