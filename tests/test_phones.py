import pytest
from hypothesis import given, strategies as st

from django_plugchat.phones.mentions import Found, Person
from django_plugchat.phones.numbers import (
    MASK,
    both_forms,
    format_phone,
    mask_id,
    mask_numbers,
    mask_phone,
    normalise,
    searched,
)

from .notations import INTERNATIONAL, LID, NATIONAL, NUMBER, TEXTS, WITHOUT_NINTH_DIGIT

FORMS = {NUMBER, WITHOUT_NINTH_DIGIT}
NATIONAL_FORMS = {NUMBER[2:], WITHOUT_NINTH_DIGIT[2:]}


def found(of: str, text: str) -> Found:
    return Person(of).found_in([text])


def shows_digits(text: str) -> bool:
    return "98877" in "".join(filter(str.isdigit, text))


@pytest.mark.parametrize("written", INTERNATIONAL.values(), ids=INTERNATIONAL)
def test_every_notation_is_hidden_found_and_erased(written):
    assert not shows_digits(mask_id(written))
    assert not shows_digits(mask_numbers(written))
    assert mask_phone(written) in {"+55 ****34", "****34-group"}
    assert normalise(written) in FORMS
    assert set(searched(written)) >= FORMS
    assert found(NUMBER, written) is found(WITHOUT_NINTH_DIGIT, written) is Found.SURELY


@pytest.mark.parametrize("written", NATIONAL.values(), ids=NATIONAL)
def test_national_notations(written):
    assert not shows_digits(mask_id(written))
    assert mask_phone(written) == "+44 ****34" if written.startswith("44") else "****34"
    assert normalise(written) in NATIONAL_FORMS
    assert set(searched(written)) >= FORMS | NATIONAL_FORMS
    assert all(normalise(written) in searched(typed) for typed in FORMS)
    assert found(NUMBER, written) is Found.PERHAPS


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts_that_mention_the_number(text):
    assert not shows_digits(mask_numbers(text))
    assert Person(NUMBER).found_in(["", text, "1"]) is Found.SURELY


@given(
    st.sampled_from([NUMBER, "14155550123", "351912345678"]),
    st.lists(st.text(" ()./-", max_size=2), min_size=11),
)
def test_any_separators(number, separators):
    written = "+" + "".join(map("".join, zip(number, separators, strict=False))) + number[len(separators) :]
    assert normalise(written) == number
    assert found(number, written) is Found.SURELY
    assert MASK in mask_numbers(written)


@pytest.mark.parametrize("text", [LID, f"{LID}@lid", f"to {LID}@lid.", f'{{"phone": {LID}}}', f"{LID}@LID"])
def test_a_privacy_id_is_found_with_its_ending_and_without(text):
    assert found(f"{LID}@lid", text) is found(LID, text) is Found.SURELY
    assert found(f"{LID}@lid", text.replace(LID, f"{LID}1")) is Found.NOT
    assert found(f"{LID}@lid", text.replace(LID, LID[:1] + LID[2:])) is Found.NOT


def test_the_bare_digits_of_a_privacy_id_may_be_somebodys_number():
    assert found(f"{NUMBER}@lid", f"{NUMBER}@lid") is Found.SURELY
    assert found(f"{NUMBER}@lid", NUMBER) is Found.PERHAPS


@pytest.mark.parametrize("lid", [LID, "27049772818844", "123456789012345"])
def test_a_search_finds_a_privacy_id_with_its_ending_and_without(lid):
    for stored in (lid, f"{lid}@lid"):
        for typed in (lid, f"{lid}@lid"):
            assert normalise(stored) in searched(typed)
    assert normalise(f"{lid}@lid") == f"{lid}@lid"


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
        ("14155550123", "14155550123", "+1 ****23", None),
        ("+44 (0)20 7946 0958", "442079460958", "+44 ****58", None),
        ("+39 06 1234 5678", "390612345678", "+39 ****78", None),  # its 0 is part of it
        ("3105550123", "3105550123", "+31 ****", None),  # perhaps of the United States: no trunk prefix is seen
        ("376312345", "376312345", "+376 ****", None),  # so short that two digits would leave few to try
        ("120363019502650977-group", "120363019502650977", "****77-group", None),
        ("120363019502650977@g.us", "120363019502650977", "****77-group", None),
        ("120363019502650977", "120363019502650977", "****77-group", None),
        ("120363019502650977@newsletter", "120363019502650977", "****77@newsletter", None),
        ("1774895799-broadcast", "1774895799-broadcast", "****99-broadcast", None),
        ("1774895799@broadcast", "1774895799-broadcast", "****99-broadcast", None),
        ("status@broadcast", "", "****-broadcast", None),
        ("5511999999999-group", "5511999999999", "****99-group", None),
        ("123456789012345@lid", "123456789012345@lid", "****45@lid", None),
        ("9" * 60 + "@lid", "9" * 60 + "@lid", "****99@lid", None),
        ("12345", "12345", "****", None),
        ("", "", "****", None),
        ("+", "", "****", None),
        ("Maria\nda Silva", "", "****", None),
    ],
)
def test_how_phones_are_stored_and_shown(phone, stored, masked, formatted):
    assert normalise(phone) == stored
    assert mask_phone(phone) == masked
    assert format_phone(phone) == (formatted or phone)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", []),
        ("Maria", []),
        ("12345", ["12345"]),
        ("+44 98877 1234", ["44988771234", "988771234", "44988771234@lid"]),
        ("(11) 3333-4444", ["1133334444", "551133334444", "1133334444@lid"]),
        ("120363019502650977-group", ["120363019502650977"]),
        ("5511999999999-1623281429", ["5511999999999", "551199999999"]),
        ("1774895799-broadcast", ["1774895799-broadcast"]),
        ("status@broadcast", []),
    ],
)
def test_what_is_typed_into_a_search(typed, expected):
    assert searched(typed) == expected


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("A20DA9C0183A2D35A260F53F5D2B9244", "A20DA9C0183A2D35A260F53F5D2B9244"),
        ("order-123456", "order-123456"),
        ("order-1234567", f"order-{MASK}"),
        ("1-2.3_4:5--6.7x", f"{MASK}x"),
        (f"true_{NUMBER}.c.us_3EB0", f"true_{MASK}.c.us_3EB0"),
        ("", ""),
        # Whatever is not plain may be anything.
        ("Maria da Silva", "Mari…"),
        (f"{NUMBER}@c.us", "5544…"),
        ("55 44 98877-1234", "55 4…"),
        ("%35%35", "%35%…"),
        ("order-\uff15\uff15", "orde…"),
        ("é", "é"),
    ],
)
def test_ids_are_shown_where_they_are_plain(text, masked):
    assert mask_id(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("pedido 123456", "pedido 123456"),
        ("pedido 1234567", f"pedido {MASK}"),
        ('["12345", "67"] and 12 34', f'["{MASK}"] and 12 34'),
        ("\\u0035\\u0035\\u0034\\u0034987", MASK),
        ("caf\\u00e9 12", "caf\\u00e9 12"),
        ("\u0665" * 7, MASK),
    ],
)
def test_numbers_leave_a_text_and_the_rest_stays(text, masked):
    assert mask_numbers(text) == masked


@pytest.mark.parametrize(
    ("number", "text", "how"),
    [
        # German numbers are not all equally long: this may be another one's.
        ("49301234", "+49 30 1234 5678", Found.PERHAPS),
        ("49301234", "+49 30 1234, 5678", Found.SURELY),
        ("49301234", "+49 30 1234", Found.SURELY),
        ("49301234", "1 49 30 1234", Found.NOT),
        ("49301234", "+351 49301234", Found.NOT),
        ("49301234", "order-49301234-1", Found.SURELY),
        ("4930123456", "0 30 123456", Found.PERHAPS),
        ("+376312345", "312345", Found.NOT),  # too short to be told from anything
        ("351912345678", "+351 912 345 678 2026-05-06", Found.SURELY),
        ("351912345678", "pedido 12345 351 912 345 678", Found.SURELY),
        ("351912345678", "11999998888 351 912 345 678", Found.SURELY),
        ("351912345678", "12.351912345678", Found.NOT),
        ("2025550143", "+1 202 555 0143", Found.NOT),
        ("34612345678", "+49 34 612 345 678", Found.NOT),
        ("34912345678", "0 41 34 91234-5678", Found.NOT),
        ("14155550123", "+1 415 555 0123 2", Found.SURELY),
        (NUMBER, "44 98877-1234 2026", Found.PERHAPS),
        (NUMBER, "+44988771234", Found.NOT),
        (NUMBER, "0044988771234", Found.NOT),
        (NUMBER, "1 " * 30 + NUMBER, Found.SURELY),
        (NUMBER, "100%", Found.NOT),
        (NUMBER, f"+{NUMBER}+5511988887777", Found.SURELY),
        (NUMBER, f"+5511988887777+{NUMBER}", Found.SURELY),
        (NUMBER, "2+2 55 44 98877-1234", Found.SURELY),
    ],
)
def test_where_a_number_begins_and_ends(number, text, how):
    assert found(f"+{number}", text) is how
