from __future__ import annotations

import json
import signal
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models.signals import post_delete

from django_plugchat import retention
from django_plugchat.models import DeliveryEvent, RejectedCallback
from tests.rows import event, events, rejected

pytestmark = pytest.mark.django_db

NUMBER = "5544999999999"
WITHOUT_NINTH_DIGIT = "554499999999"
SOMEBODY_ELSE = "5511988887777"


def forget(*args, **options):
    output = StringIO()
    call_command("plugchat_forget", *args, stdout=output, **options)
    return output.getvalue().splitlines()


def left(model=DeliveryEvent):
    return set(model.objects.values_list("pk", flat=True))


@pytest.mark.parametrize(
    "written",
    [
        NUMBER,
        WITHOUT_NINTH_DIGIT,
        "+55 (44) 99999-9999",
        "0055 44 9.9999/9999",
        " 55-44-9999-9999\n",
        "\u202a+55\xa044\xa099999\u20119999\u202c",
    ],
)
def test_both_forms_of_the_ninth_digit_however_written(written):
    event(phone=NUMBER)
    event(phone=WITHOUT_NINTH_DIGIT)
    other = event(phone=SOMEBODY_ELSE)
    assert forget(written)[:2] == ["Erased 2 events.", "Erased 0 rejected callbacks."]
    assert left() == {other.pk}


def test_a_number_in_several_words():
    event(phone=NUMBER)
    assert forget("+55", "(44)", "99999-9999")[0] == "Erased 1 event."


@pytest.mark.parametrize(("written", "phone"), [("+376 312 345", "376312345"), ("12025550123", "12025550123")])
def test_numbers_of_other_countries(written, phone):
    event(phone=phone)
    assert forget(written)[0] == "Erased 1 event."


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "country code"),
        ("+", "country code"),
        ("9999-9999", "country code"),
        ("99999-9999", "country code"),
        ("(44) 99999-9999", "country code"),
        ("(44) 3333-4444", "country code"),
        ("044 99999-9999", "country code"),
        ("+0 44 99999-9999", "country code"),
        ("+1234567", "country code"),
        ("5544999999999@c.us", "only digits"),
        ("\uff15\uff1544999999999", "only digits"),
        ("5544999999999, 5511988887777", "too long"),
    ],
)
def test_what_is_no_full_number_is_refused_without_repeating_it(written, why):
    kept = event(phone="44999999999")
    with pytest.raises(CommandError, match=why) as error:
        forget(written)
    assert "9999" not in str(error.value)
    assert left() == {kept.pk}


@pytest.mark.parametrize("line", [f"{NUMBER}\n", "+55 44 99999-9999"])
def test_the_number_from_standard_input(monkeypatch, line):
    monkeypatch.setattr(sys, "stdin", StringIO(line))
    event(phone=NUMBER)
    assert forget("-")[0] == "Erased 1 event."


def test_nothing_on_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", StringIO())
    with pytest.raises(CommandError, match="country code"):
        forget("-")


@pytest.mark.parametrize(
    "fields",
    [
        {"phone": f"{NUMBER}@c.us"},
        {"phone": f"{WITHOUT_NINTH_DIGIT}@s.whatsapp.net"},
        {"phone": f"+{NUMBER}"},
        {"phone": f"{NUMBER}-1623281429"},
        {"zaap_id": NUMBER},
        {"custom_id": f"order-{NUMBER}-1"},
        {"message_id": f"true_{NUMBER}@c.us_3EB0"},
        {"instance_id": NUMBER},
        {"error": f"Phone {NUMBER} does not exist"},
        {"error_code": NUMBER},
        {"dispatch_error": f"shop.receivers.tell: {NUMBER}"},
        {"payload": {"phone": NUMBER}},
        {"payload": {"participant": int(NUMBER)}},
        {"payload": {"participant": -int(NUMBER)}},
        {"payload": {"participant": float(NUMBER)}},
        {"payload": {NUMBER: None}},
        {"payload": {"a": [1, {"b": [True, f"to {WITHOUT_NINTH_DIGIT}."]}]}},
        {"payload": {"name": f"Zé{NUMBER}é"}},
        {"payload": {"name": f"\x10{NUMBER}\n"}},
        {"payload": {"name": f'"\\{NUMBER}'}},
        {"payload": [NUMBER]},
        {"payload": NUMBER},
    ],
)
def test_events_that_mention_the_number(fields):
    event(**{"phone": SOMEBODY_ELSE, **fields})
    other = event(phone=SOMEBODY_ELSE)
    assert forget(NUMBER)[0] == "Erased 1 event."
    assert left() == {other.pk}


@pytest.mark.parametrize("longer", [f"{NUMBER}1", f"1{NUMBER}", f"{WITHOUT_NINTH_DIGIT}1", "5544999999998"])
def test_a_longer_number_that_holds_it_is_another(longer):
    event(
        phone=longer,
        custom_id=f"a{longer}b",
        error=longer,
        dispatch_error=longer,
        payload={"phone": longer, "n": int(longer), longer: [int(longer)], "text": f"é{longer}é", "x": None},
    )
    rejected(f'{{"phone": "{longer}", "n": {longer}}}'.encode())
    assert forget(NUMBER)[:2] == ["Erased 0 events.", "Erased 0 rejected callbacks."]


def test_a_landline_has_one_form():
    mobile = event(phone="5544933334444")
    event(phone="554433334444")
    assert forget("554433334444")[0] == "Erased 1 event."
    assert left() == {mobile.pk}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"phone": NUMBER}).encode(),
        json.dumps({"phone": int(WITHOUT_NINTH_DIGIT)}).encode(),
        json.dumps({"deep": [{NUMBER: 1}]}).encode(),
        json.dumps({"name": f"é{NUMBER}"}).encode(),
        json.dumps({"name": f"\x10{NUMBER}"}).encode(),
        f'{{"phone": "{NUMBER}'.encode(),
        f"é{NUMBER}".encode("latin-1"),
        json.dumps({"phone": NUMBER}).encode("utf-16"),
        b'{"phone": "\\u0035544999999999"}',
        b'{"phone": "\\u0035544999999999"',
        b"[" * 5000 + NUMBER.encode(),
        b"[" * 900 + NUMBER.encode() + b"]" * 900,
    ],
)
def test_rejected_bodies_that_hold_the_number(body):
    rejected(body)
    kept = rejected(b'{"phone": "5511988887777", "n": 1e999, "b": null}')
    assert forget(NUMBER)[:2] == ["Erased 0 events.", "Erased 1 rejected callback."]
    assert left(RejectedCallback) == {kept.pk}


def test_dry_run_erases_nothing():
    event(phone=NUMBER)
    event(phone=SOMEBODY_ELSE, payload={"to": NUMBER})
    rejected(NUMBER.encode())
    assert forget(NUMBER, "--dry-run")[:2] == ["Would erase 2 events.", "Would erase 1 rejected callback."]
    assert len(left()) == 2
    assert len(left(RejectedCallback)) == 1
    assert forget(NUMBER)[:2] == ["Erased 2 events.", "Erased 1 rejected callback."]


def test_many_batches(monkeypatch):
    monkeypatch.setattr(retention, "_SCAN_BATCH", 2)
    monkeypatch.setattr(retention, "_REJECTED_BATCH", 2)
    keep = {row.pk for row in events(3, phone=SOMEBODY_ELSE)}
    events(5, phone=NUMBER)
    keep |= {row.pk for row in events(2, phone=SOMEBODY_ELSE)}
    events(4, phone=SOMEBODY_ELSE, error=NUMBER)
    for body in [b"1", NUMBER.encode(), NUMBER.encode(), b"2", NUMBER.encode()]:
        rejected(body)
    assert forget(NUMBER)[:2] == ["Erased 9 events.", "Erased 3 rejected callbacks."]
    assert left() == keep
    assert len(left(RejectedCallback)) == 2


def test_says_what_it_can_not_reach_and_never_the_number():
    event(phone=NUMBER, payload={"phone": NUMBER})
    log = StringIO()
    said = forget(NUMBER, stderr=log)
    assert len(said) == 3
    for word in ("backups", "logs", "exported files", "@lid"):
        assert word in said[2]
    assert NUMBER[-8:] not in "".join(said) + log.getvalue()


def test_an_interrupted_run_says_what_it_did_and_can_be_run_again(monkeypatch):
    monkeypatch.setattr(retention, "_SCAN_BATCH", 2)
    events(5, phone=NUMBER)

    def interrupt(**kwargs):
        signal.raise_signal(signal.SIGINT)
        post_delete.disconnect(interrupt, sender=DeliveryEvent)

    post_delete.connect(interrupt, sender=DeliveryEvent)
    output = StringIO()
    with pytest.raises(CommandError, match="Interrupted") as interrupted:
        call_command("plugchat_forget", NUMBER, stdout=output)
    assert interrupted.value.returncode == 130
    assert output.getvalue().splitlines() == ["Erased 2 events.", "Erased 0 rejected callbacks."]
    assert forget(NUMBER)[0] == "Erased 3 events."
