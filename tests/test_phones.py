from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_plugchat import recording
from django_plugchat.phones import digits
from django_plugchat.phones import numbers as phones
from django_plugchat.phones.mentions import Found, Wanted
from django_plugchat.phones.numbers import (
    MASK,
    both_forms,
    format_phone,
    mask_id,
    mask_phone,
    normalise,
    search_terms,
    searched,
)

from .notations import (
    BESIDE,
    BETWEEN,
    INTERNATIONAL,
    NATIONAL,
    NUMBER,
    NUMBERS,
    OTHERS,
    TEXTS,
    WITHOUT_NINTH_DIGIT,
)

FORMS = {NUMBER, WITHOUT_NINTH_DIGIT}
NATIONAL_FORMS = {NUMBER[2:], WITHOUT_NINTH_DIGIT[2:]}


def longest_run(text: str) -> int:
    clean, _origins = digits.read(text)
    return max((sum(len(group.digits) for group in run) for run in digits.runs(clean)), default=0)


@pytest.mark.parametrize("written", INTERNATIONAL.values(), ids=INTERNATIONAL)
def test_every_notation_is_hidden_found_and_erased(written):
    assert longest_run(mask_id(written)) < 7
    assert mask_phone(written).replace("-group", "") in {"+55 ****34", "****34"}
    assert normalise(written) in FORMS
    assert set(searched(written)) >= FORMS
    assert Wanted(NUMBER).found_in([written]) is Found.INTERNATIONAL
    assert Wanted(WITHOUT_NINTH_DIGIT).found_in([written]) is Found.INTERNATIONAL


@pytest.mark.parametrize("written", NATIONAL.values(), ids=NATIONAL)
def test_national_notations(written):
    assert longest_run(mask_id(written)) < 7
    assert normalise(written) in NATIONAL_FORMS
    assert set(searched(written)) >= FORMS | NATIONAL_FORMS
    assert Wanted(NUMBER).found_in([written]) is Found.NATIONAL


@pytest.mark.parametrize("stored", [*INTERNATIONAL.values(), *NATIONAL.values()])
@pytest.mark.parametrize("typed", [NUMBER, WITHOUT_NINTH_DIGIT, "(44) 98877-1234", "44 8877 1234"])
def test_whatever_is_stored_is_found_by_whatever_is_typed(stored, typed):
    assert normalise(stored) in searched(typed)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts_that_mention_the_number(text):
    assert longest_run(mask_id(text)) < 7
    assert Wanted(NUMBER).found_in(["", text, "1"]) is Found.INTERNATIONAL


beside = st.lists(st.tuples(st.sampled_from(BESIDE), st.sampled_from(BETWEEN)), max_size=4)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(NUMBERS), beside, beside)
@example(("351912345678", "+351 912 345 678"), [], [("2026", " ")])
@example(("34612345678", "+34 612 34 56 78"), [], [("10:32", " ")])
def test_a_number_beside_anything_is_hidden_found_and_erased(number_as_written, before, after):
    number, written = number_as_written
    text = "".join(map("".join, before)) + written + "".join(between + piece for piece, between in after)
    assert Wanted(number).found_in([text]) is Found.INTERNATIONAL
    hidden = mask_id(text)
    assert longest_run(hidden) < 7
    assert Wanted(number).found_in([hidden]) is Found.NOT


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_what_is_somebody_elses(text):
    assert Wanted(NUMBER).found_in([text]) is Found.NOT


@given(
    st.sampled_from([NUMBER, "14155550123", "351912345678"]),
    st.lists(
        st.text(st.characters(exclude_categories=["L", "N", "Cs"], exclude_characters="+@:._%\\"), max_size=2),
        min_size=12,
    ),
)
def test_any_separators(number, separators):
    written = "+" + "".join(digit + between for digit, between in zip(number, [*separators, ""], strict=False))
    written += number[len(separators) + 1 :]
    assert normalise(written) == number
    assert longest_run(mask_id(written)) == 0
    assert Wanted(number).found_in([written]) is Found.INTERNATIONAL


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("554499999999", ["554499999999", "5544999999999"]),
        ("5544999999999", ["5544999999999", "554499999999"]),
        ("554433334444", ["554433334444"]),  # a landline
        ("5544933334444", ["5544933334444"]),  # without its 9 somebody else's landline
        ("14155550123", ["14155550123"]),
        ("554099999999", ["554099999999"]),  # no area of Brazil
    ],
)
def test_both_forms_of_the_ninth_digit(number, expected):
    assert both_forms(number) == expected


@pytest.mark.parametrize(
    ("phone", "stored", "masked", "formatted"),
    [
        ("5544999999999", "5544999999999", "+55 ****99", "+55 44 99999-9999"),
        ("554499998888", "554499998888", "+55 ****88", "+55 44 9999-8888"),
        ("+55 (44) 99999-8888", "5544999998888", "+55 ****88", "+55 44 99999-8888"),
        ("14155550123", "14155550123", "+1 ****23", None),
        ("+44 (0)20 7946 0958", "442079460958", "+44 ****58", None),
        ("+39 06 1234 5678", "390612345678", "+39 ****78", None),  # its 0 is part of it
        ("3105550123", "3105550123", "+31 ****", None),  # perhaps of the United States: no trunk prefix is seen
        ("376312345", "376312345", "+376 ****", None),  # so short that two digits would leave few to try
        ("044988771234", "44988771234", "****34", None),
        ("120363019502650977-group", "120363019502650977", "****77-group", None),
        ("120363019502650977@g.us", "120363019502650977", "****77-group", None),
        ("120363019502650977@newsletter", "120363019502650977", "****77-group", None),
        ("5511999999999-group", "5511999999999", "****99-group", None),
        ("5511999999999-1623281429", "5511999999999", "****99-group", None),
        ("123456789012345@lid", "123456789012345@lid", "****45@lid", None),
        ("12345", "12345", "****", None),
        ("", "", "****", None),
        ("0", "", "****", None),
        ("+", "", "****", None),
        ("Maria\nda Silva", "", "****", None),
        ("⑳" * 64, "20" * 32, "****20-group", None),
        ("9" * 60 + "@lid", "9" * 60 + "@lid", "****99@lid", None),
    ],
)
def test_how_phones_are_stored_and_shown(phone, stored, masked, formatted):
    assert normalise(phone) == stored
    assert mask_phone(phone) == masked
    assert format_phone(phone) == (formatted or phone)
    assert len(stored) <= 64


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", []),
        ("Maria", []),
        ("0", []),
        ("12345", ["12345"]),
        ("+44 98877 1234", ["44988771234", "988771234", "44988771234@lid"]),
        ("+1 415 555 0123", ["14155550123", "4155550123", "14155550123@lid"]),
        ("(11) 3333-4444", ["1133334444", "551133334444", "1133334444@lid"]),
        ("120363019502650977-group", ["120363019502650977"]),
        ("120363019502650977", ["120363019502650977"]),
        ("123456789012345@lid", ["123456789012345@lid"]),
        ("5511999999999-1623281429", ["5511999999999", "551199999999"]),
    ],
)
def test_what_is_typed_into_a_search(typed, expected):
    assert searched(typed) == expected


def test_a_privacy_id_is_found_without_its_ending():
    assert normalise("123456789012345@lid") in searched("123456789012345")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("A20DA9C0183A2D35A260F53F5D2B9244", "A20DA9C0183A2D35A260F53F5D2B9244"),
        ("pedido 123456", "pedido 123456"),
        ("pedido 1234567", f"pedido {MASK}"),
        ("1-2-3-4-5-6-7 e 12", f"{MASK} e 12"),
        (f"false_120363019502650977@g.us_3EB0_{NUMBER}@c.us", f"false_{MASK}@g.us_3EB{MASK}@c.us"),
        ("x\\u0035\\u0035\\u0034\\u0034987y", f"x{MASK}y"),
        ("é\\u00e9 12", "é\\u00e9 12"),
        ("é \uff13\uff13\uff13\uff14\uff14\uff14\uff14 ç", f"é {MASK} ç"),
        ("12a34 567-8901b23", f"12a{MASK}b23"),
        ("12 34abc567", "12 34abc567"),
        ("a1 b2", "a1 b2"),
        ("\u31641\u31642\u3164345 6", "\u31641\u31642\u3164345 6"),
        ("\\ud835 12", "\\ud835 12"),
        ("wa:%2B55%2D44%2D98877%2D1234", f"wa:%2B{MASK}"),
        ("55%C2%A044%C2%A098877%C2%A01234", MASK),
        (f"a %{NUMBER}", f"a %{MASK}"),
        ("100% caf%C3%A9 %41%zz%", "100% caf%C3%A9 %41%zz%"),
        ("\\ud835\\u0031", "\\ud835\\u0031"),
        ("", ""),
    ],
)
def test_ids_are_masked_and_the_rest_stays(text, masked):
    assert mask_id(text) == masked


@pytest.mark.parametrize(
    ("number", "text", "found"),
    [
        # German numbers are not all equally long: this is another one's.
        ("49301234", "+49 30 1234 5678", Found.NOT),
        ("49301234", "49 30 1234 5678", Found.NOT),
        ("49301234", "1 49 30 1234", Found.NOT),
        ("49301234", "+49 30 1234, 5678", Found.INTERNATIONAL),
        ("49301234", "+49 30 1234", Found.INTERNATIONAL),
        ("49301234", "030 1234", Found.NATIONAL),
        ("49301234", "order-49301234-1", Found.INTERNATIONAL),
        ("14155550123", "+1 415 555 0123 2", Found.INTERNATIONAL),
        ("49301234", "+351 49301234", Found.NOT),
        ("49301234", "+49 30 1234-56", Found.NOT),
        ("49301234", "+49 30 1234 (5678)", Found.NOT),
        ("4930123456", "+49 30 123456 (1)", Found.INTERNATIONAL),
        ("351912345678", "+351 912 345 678 (2 tentativas)", Found.INTERNATIONAL),
        ("34912345678", "+34 912 345 678 - 10:32", Found.INTERNATIONAL),
        ("34912345678", "0 41 34 91234-5678", Found.NOT),
        ("34912345678", "0 15 34 91234-5678", Found.NOT),
        ("34912345678", "015 34 91234-5678", Found.NOT),
        ("49301234", "+49 30 1234 0056", Found.NOT),
        ("49301234", "+49 30 1234_5678", Found.NOT),
        ("49301234", "49 30 1234\\n5678", Found.INTERNATIONAL),
        ("49301234", "123456 49 30 1234 567890", Found.INTERNATIONAL),
        ("4930123456", "+49 30 123456 12", Found.NOT),
        ("4930123456", "+49 30 123456 2026", Found.INTERNATIONAL),
        ("351912345678", "pedido 123 351 912 345 678", Found.INTERNATIONAL),
        ("351912345678", "2 351 912 345 678", Found.NOT),
        ("351912345678", "1 2 351 912 345 678", Found.NOT),
        ("351912345678", "12.351 912 345 678", Found.INTERNATIONAL),
        ("351912345678", "12.351912345678", Found.NOT),
        ("351912345678", "+100 351 912 345 678", Found.INTERNATIONAL),
        ("2025550143", "+1 202 555 0143", Found.NOT),
        ("34612345678", "+49 34 612 345 678", Found.NOT),
        (NUMBER, "44 98877-1234 2026", Found.NATIONAL),
        (NUMBER, "+49 44 98877-1234 1234567", Found.NOT),
        ("442079460958", "+44 020 7946 0958", Found.INTERNATIONAL),
        ("390612345678", "06 1234 5678", Found.NATIONAL),
        (NUMBER, "44 98877-1234 / 5544988771234", Found.INTERNATIONAL),
        (NUMBER, "+44988771234", Found.NOT),
        (NUMBER, "0044988771234", Found.NOT),
        (NUMBER, "1 " * 30 + NUMBER, Found.INTERNATIONAL),
        (NUMBER, "100%", Found.NOT),
        (NUMBER, "%35544988771234", Found.INTERNATIONAL),
    ],
)
def test_where_a_number_begins_and_ends(number, text, found):
    assert Wanted(number).found_in([text]) is found


# What a refused body is found by


def terms(body: bytes) -> list[str]:
    found = search_terms(body)
    assert not found or (found.startswith("\n") and found.endswith("\n"))
    assert len(found) <= max(len(body), 64)
    return found.split("\n")[1:-1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1"])
@pytest.mark.parametrize("end", ["}", ""])
def test_numbers_and_ids_of_refused_bodies(encoding, end):
    body = json.dumps(
        {
            "phone": "+55 (44) 98877-1234",
            "zaapId": "Z1",
            "ids": ["I\u00e91", 12],
            "text": "no id",
            "instanceId": "",
            "name": "é" * 99,
        },
        ensure_ascii=False,
    )[:-1]
    assert set(terms((body + end).encode(encoding))) >= {"Z1", "Ié1", "12", NUMBER}


# Whether what is between two groups of digits belongs to a number is not known of bytes that are no text.
@pytest.mark.parametrize("name", sorted(INTERNATIONAL.keys() - {"bytes that are no UTF-8 in a URL"}))
def test_numbers_of_refused_bodies_in_every_notation(name):
    body = f'{{"phone": "{INTERNATIONAL[name]}"'.encode() + b" " * 64
    assert FORMS & set(terms(body))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", []),
        (b"\x00\xff\xfe", []),
        (b'{"id": "a\\u0041\\nb"}', ["aA b"]),
        (b'{"id": "\\x"}                    ', ["\\x"]),
        (b'{"id": "\\u0000\\ud800"}          ', ["\ufffd\ufffd"]),
        (b'{"id": "' + b"a" * 256 + b'"}', []),
        (b'{"customId": "never closed', ["never closed"]),
        (b'["+55 44 98877-1234, +351 912 345 678"]', [NUMBER, "351912345678"]),
        (b'["+55 44 98877-1234 +351912345678"]', [NUMBER, "351912345678"]),
        (f'["{NUMBER}-1623281429"]                         '.encode(), [NUMBER, "1623281429"]),
        (zlib.compress(b'{"id": "Z1"}' + b" " * 60), ["Z1"]),
        (b"\x1f\x8b no gzip", []),
        (b"\x1f\x8b 5544988771234                                ", [NUMBER]),
    ],
)
def test_search_terms(body, expected):
    assert terms(body) == expected


def test_search_terms_are_no_longer_than_the_body():
    ids = [f"id-{number}" for number in range(400)]
    assert terms(json.dumps({"ids": ids}).encode()) == ids
    assert terms(json.dumps({"ids": ids * 2}).encode()) == ids
    # Each of these is two terms.
    numbers = " and ".join(f"1-{number}" for number in range(20000000, 20000100))
    assert 50 < len(terms(numbers.replace(" and ", "z").encode())) < 200


def test_search_terms_of_long_bodies():
    body = json.dumps({"ids": [f"id-{number}" for number in range(2000)]}).encode()
    assert 4000 < len(search_terms(body)) <= 4096
    # Of what is compressed only the beginning is read: its end may be very far away.
    padding = b" " * (1 << 16)
    assert terms(zlib.compress(b'{"id": "Z1"}' + padding + b'{"id": "Z2"}')) == ["Z1"]


def test_a_few_zero_bytes_are_no_wide_encoding():
    body = b"\0" + f'{{"id": "Z1", "text": "{NUMBER}"}}'.encode()
    assert len(list(digits.readings(body))) == 2
    assert terms(body) == ["Z1", NUMBER]


@pytest.mark.django_db
def test_search_terms_are_only_found_for_what_is_kept(settings, monkeypatch):
    settings.PLUGCHAT = settings.PLUGCHAT | {"MAX_REJECTED": 1}
    looked_at = []
    monkeypatch.setattr(phones, "search_terms", lambda body: looked_at.append(body) or "")
    for body in (b"first", b"first", b"too many"):
        recording.reject(body, recording.Receipt("default", ""), reason="json", errors={})
    assert looked_at == [b"first"]
