"""Callbacks that were refused, as people find, read and replay them."""

import html
import json
import logging

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_plugchat.admin import rejected as rejected_admin
from django_plugchat.models import DeliveryEvent, RejectedCallback
from tests.payloads import EXAMPLE
from tests.people import REJECTED, person, select, submit, text_of
from tests.rows import rejected

pytestmark = pytest.mark.django_db

READ = ("view_rejectedcallback", "view_phone")
REPLAY = ("view_rejectedcallback", "replay_rejectedcallback")
BODY = json.dumps(EXAMPLE).encode()


@pytest.fixture
def refuse(post):
    """Post what is refused; returns the row."""

    def refuse(body, **extra):
        assert post(body, **extra).status_code == 400
        return RejectedCallback.objects.latest("pk")

    return refuse


def page_of(client, row):
    response = client.get(f"{REJECTED}{row.pk}/change/")
    assert response.status_code == 200
    return response


def found(client, typed):
    response = client.get(REJECTED, {"q": typed})
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


# Reading


def test_the_list_says_what_is_wrong_with_each(refuse):
    refuse({"zaapId": [], "type": "DeliveryCallback"})
    refuse("no JSON")
    text = text_of(person("view_rejectedcallback").get(REJECTED))
    for words in ("phone is missing.", "zaapId is neither", "Not JSON", "Loja Centro"):
        assert words in text


def test_the_list_says_how_often_one_came(refuse):
    for _ in range(3):
        refuse("no JSON")
    assert "3 times" in text_of(person("view_rejectedcallback").get(REJECTED))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"phone": "1", "zaapId": "Z", "type": "MessageStatusCallback"}, ["status is missing", "ids is missing"]),
        ({"type": "MessageStatusCallback", "status": "READ", "ids": []}, ["ids is empty"]),
        ({"type": "MessageStatusCallback", "status": "READ", "ids": 7.5}, ["ids is not a list"]),
        ({"type": "MessageStatusCallback", "status": "READ", "ids": ["a"] * 1001}, ["ids holds too many"]),
        ({"phone": "1" * 65, "zaapId": " ", "type": "DeliveryCallback"}, ["phone is too long", "zaapId is blank"]),
        ({"phone": "1\0", "zaapId": "Z", "type": "DeliveryCallback"}, ["phone contains a character"]),
    ],
)
def test_errors_are_sentences(refuse, body, words):
    text = text_of(page_of(person("view_rejectedcallback"), refuse(body)))
    for sentence in words:
        assert sentence in text


def test_an_error_of_a_later_version_is_a_sentence_too():
    row = rejected(errors={"phone": ["unheard_of"], "ids": {"0": ["blank"]}})
    text = text_of(page_of(person("view_rejectedcallback"), row))
    assert "phone is unusable." in text
    assert "ids is unusable." in text


def test_each_reason_says_what_to_do():
    client = person("view_rejectedcallback")

    def advice(reason):
        text = text_of(page_of(client, rejected(reason=reason)))
        return text.partition("What to do:")[2].partition("What is wrong")[0]

    reasons = RejectedCallback.Reason.values
    assert len({advice(reason) for reason in reasons if len(advice(reason)) > 50}) == len(reasons)
    # One of a later version.
    assert "Update django-plugchat" in advice("unheard_of")


def test_json_is_indented():
    row = rejected('\ufeff{"type":"Ação","empty":{}}'.encode())
    assert '{\n  "type": "Ação",\n  "empty": {}\n}' in html.unescape(page_of(person(*READ), row).content.decode())


def test_what_no_page_can_hold_is_replaced():
    row = rejected(b'{"phone":"\\ud800"}')
    assert '"phone": "\ufffd"' in html.unescape(page_of(person(*READ), row).content.decode())


@pytest.mark.parametrize("body", ["no JSON", "[1e999,1]", "9" * 1001, "[" * 900 + "1," * 3000 + "1" + "]" * 900])
def test_other_bodies_are_shown_as_they_came(body):
    row = rejected(body.encode())
    page = page_of(person(*READ), row).content.decode()
    assert body in html.unescape(page)
    assert len(page) < 50_000


@pytest.mark.parametrize("body", [b"<b>bold</b>", b"\xff\xfe"])
def test_what_is_no_text_or_no_json_is_harmless(body):
    row = rejected(body)
    assert text_of(page_of(person(*READ), row))
    assert b"<b>bold</b>" not in page_of(person(*READ), row).content


def test_the_body_is_for_those_who_may_see_numbers():
    row = rejected(b'{"secret-key": "554499999999"}')
    client = person("view_rejectedcallback")
    for response in (client.get(REJECTED), page_of(client, row)):
        assert b"secret-key" not in response.content
        assert b"99999999" not in response.content
    assert b"secret-key" in page_of(person(*READ), row).content


# Searching


@pytest.mark.parametrize(
    "typed",
    [
        *("554499999999", "+55 44 99999-9999", "(44) 9999-9999", " 5544999999999 "),
        *("A20DA9C0183A2D35A260F53F5D2B9244", "a20da9c0183a2d35a260f53f5d2b9244", "#123", "123, 124"),
    ],
)
def test_a_number_or_an_id_finds_what_was_refused(refuse, typed):
    row = refuse(EXAMPLE | {"messageId": []})
    refuse({"phone": "5511988887777", "zaapId": [], "type": "DeliveryCallback"})
    assert found(person(*READ), typed) == [row.pk]


def test_a_short_number_is_found_as_a_whole_one(refuse):
    row = refuse({"zaapId": [], "customId": 123, "type": "DeliveryCallback"})
    refuse({"zaapId": [], "customId": "1234", "type": "DeliveryCallback"})
    assert found(person(*READ), "123") == [row.pk]
    assert found(person(*READ), "--------") == found(person(*READ), "____") == []


def test_nothing_typed_finds_all(refuse):
    refuse("no JSON")
    assert len(found(person(*READ), " ")) == 1
    assert found(person(*READ), "(44) 98888-7777") == []


def test_bodies_are_read_many_at_a_time(refuse, monkeypatch):
    rows = [refuse(EXAMPLE | {"messageId": [], "zaapId": f"zaap-{number}"}) for number in range(5)]
    client = person(*READ)
    with CaptureQueriesContext(connection) as queries:
        assert found(client, "554499999999") == [row.pk for row in reversed(rows)]
    assert len([query for query in queries if '"body"' in query["sql"] or "`body`" in query["sql"]]) == 2
    monkeypatch.setattr(rejected_admin, "MAX_SEARCHED", 2)
    monkeypatch.setattr(rejected_admin, "AT_A_TIME", 1)
    assert found(client, "554499999999") == [row.pk for row in reversed(rows[3:])]


def test_searching_is_for_those_who_may_see_numbers(refuse):
    refuse(EXAMPLE | {"messageId": []})
    refuse("no JSON")
    client = person("view_rejectedcallback")
    assert 'name="q"' not in client.get(REJECTED).content.decode()
    # And what is typed into the address tells nothing.
    assert len(found(client, "554499999999")) == len(found(client, "5511988887777")) == 2


def test_much_that_is_pasted_is_no_error(refuse):
    row = refuse(EXAMPLE | {"messageId": []})
    pasted = " ".join(["123", *(f"+55 44 9{number:04}-0000" for number in range(3000))])
    assert found(person(*READ), "123\n" + "\n".join(str(number) for number in range(10**10, 10**10 + 1000))) == [row.pk]
    assert isinstance(found(person(*READ), pasted), list)


# Replaying


def test_replaying_needs_its_permission():
    row = rejected(BODY)
    client = person("view_rejectedcallback")
    assert "plugchat-button-main" not in page_of(client, row).content.decode()
    select(client, REJECTED, "replay", row, post="yes")
    assert not DeliveryEvent.objects.exists()


def test_replaying_asks_first_and_says_what_became_of_it(caplog):
    caplog.set_level(logging.INFO)
    good, bad = rejected(BODY), rejected(b"no JSON")
    client = person(*REPLAY)
    page = select(client, REJECTED, "replay", good, bad)
    assert "2 callbacks" in text_of(page)
    assert not DeliveryEvent.objects.exists()
    text = text_of(submit(client, page, REJECTED))
    assert "1 callback is now an event" in text
    assert "1 callback is still refused" in text
    assert DeliveryEvent.objects.get().zaap_id == EXAMPLE["zaapId"]
    assert RejectedCallback.objects.get() == bad
    assert "person-0: replay of 2 rejectedcallback." in caplog.messages
    assert "2" in LogEntry.objects.get().object_repr


def test_one_is_replayed_from_its_page():
    row = rejected(BODY)
    client = person(*REPLAY)
    page = submit(client, page_of(client, row), REJECTED)
    submit(client, page, REJECTED)
    assert DeliveryEvent.objects.exists()


def test_more_than_a_request_should_replay_are_refused():
    rows = [rejected() for _ in range(101)]
    page = select(person(*REPLAY), REJECTED, "replay", rows[0], select_across="1", post="yes")
    assert "more than 100" in text_of(page)
    assert RejectedCallback.objects.count() == 101
