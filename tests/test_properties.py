"""Any bytes, any JSON, any near-valid callback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from django_plugchat.models import DeliveryEvent, RejectedCallback

from .conftest import EXAMPLE, URL

pytestmark = pytest.mark.django_db

# The fixtures hold nothing that an example could change for the next one: each begins with empty tables.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(text, children, max_size=4),
    max_leaves=10,
)
ids = text.filter(str.strip) | st.integers()
KEYS = ["phone", "zaapId", "type", "customId", "messageId", "instanceId", "error", "errorCode", "momment"]
callbacks = st.fixed_dictionaries(
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


def post(body: bytes) -> Any:
    return Client().generic("POST", URL, body, content_type="application/json", CONTENT_TYPE="application/json")


def forget() -> None:
    DeliveryEvent.objects.all().delete()
    RejectedCallback.objects.all().delete()


def assert_answer_is_true(body: bytes) -> None:
    forget()
    response = post(body)
    stored = (DeliveryEvent.objects.count(), RejectedCallback.objects.count())
    if response.status_code == 200:
        assert stored == {"recorded": (1, 0), "ignored": (0, 0)}[response.json()["status"]]
    else:
        assert (response.status_code, stored) == (400, (0, 1))
        assert bytes(RejectedCallback.objects.get().body) == body
        again = post(body)
        assert (again.status_code, RejectedCallback.objects.get().times_received) == (400, 2)


@examples
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example(b'{"type": "DeliveryCallback", "phone": "1", "zaapId": "\\ud800"}')
def test_any_bytes(body):
    assert_answer_is_true(body)


@examples
@given(json_values)
@example({"type": "Some\ncallback"})
def test_any_json(value):
    assert_answer_is_true(json.dumps(value).encode())


@examples
@given(st.dictionaries(st.sampled_from(KEYS) | text, json_values, max_size=6), st.sets(st.sampled_from(KEYS)))
def test_any_near_valid_callback(changes, missing):
    callback = {key: value for key, value in (EXAMPLE | changes).items() if key not in missing}
    assert_answer_is_true(json.dumps(callback).encode())


@examples
@given(callbacks, st.dictionaries(text.filter(lambda key: key not in KEYS), json_values, max_size=4), st.randoms())
def test_what_is_accepted_can_be_read_back(callback, unknown, random):
    forget()
    callback |= unknown
    assert post(json.dumps(callback).encode()).json() == {"status": "recorded"}
    event = DeliveryEvent.objects.get()
    assert event.payload == callback
    assert (event.phone, event.zaap_id) == (str(callback["phone"]), str(callback["zaapId"]))
    items = list(callback.items())
    random.shuffle(items)
    assert post(json.dumps(dict(items), indent=2, ensure_ascii=False).encode()).json() == {"status": "duplicate"}
    assert DeliveryEvent.objects.get().times_received == 2
