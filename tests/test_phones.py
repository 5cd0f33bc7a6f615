from __future__ import annotations

import pytest

from django_plugchat.phones import format_phone, mask_json, mask_number_in, mask_phone, mask_phones_in, variants


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("554499999999", ["554499999999", "5544999999999"]),
        ("5544999999999", ["5544999999999", "554499999999"]),
        ("+55 (44) 99999-9999", ["5544999999999", "554499999999"]),
        ("554433334444", ["554433334444"]),  # a landline
        ("5544933334444", ["5544933334444"]),  # without its 9 somebody else's landline
        ("14155550123", ["14155550123"]),
        ("554099999999", ["554099999999"]),  # no area of Brazil
        ("", []),
        ("nobody", []),
    ],
)
def test_variants_are_both_forms_of_the_ninth_digit(number, expected):
    assert variants(number) == expected


@pytest.mark.parametrize(
    ("value", "formatted", "masked"),
    [
        ("5544999999999", "+55 44 99999-9999", "+55 44 ****-9999"),
        ("554499998888", "+55 44 9999-8888", "+55 44 ****-8888"),
        ("+55 (44) 99999-8888", "+55 44 99999-8888", "+55 44 ****-8888"),
        ("14155550123", "14155550123", "****0123"),
        ("120363019502650977-group", "120363019502650977-group", "****0977-group"),
        ("5511999999999-1623281429", "5511999999999-1623281429", "****1429"),
        ("123456789012345@lid", "123456789012345@lid", "****2345@lid"),
        ("12345", "12345", "****"),
        ("", "", "****"),
        ("Maria\nda Silva", "Maria\nda Silva", "****ilva"),
    ],
)
def test_numbers_are_formatted_and_masked(value, formatted, masked):
    assert format_phone(value) == formatted
    assert mask_phone(value) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("no number 5544999999999.", "no number +55 44 ****-9999."),
        ("call +55 (44) 99999-9999 now", "call +55 44 ****-9999 now"),
        ("call (44) 99999-9999", "call ********9999"),
        ('{"phone": "\\u00355449999\\u00399999"', '{"phone": "+55 44 ****-9999"'),
        ("A20DA9C0183A2D35A260F53F5D2B9244 3EB012345678901A", "A20DA9C0183A2D35A260F53F5D2B9244 3EB012345678901A"),
        ('"momment": 1777494091684', '"momment": 1777494091684'),
        ("1234567 stays", "1234567 stays"),
    ],
)
def test_whatever_looks_like_a_number_is_masked_in_texts(text, masked):
    result = mask_phones_in(text)
    assert result.replace("********", "****") == masked.replace("********", "****")


@pytest.mark.parametrize(
    ("phone", "text", "masked"),
    [
        ("554499999999", "pedido5544999999999x", "pedido+55 44 ****-9999x"),
        ("5544999999999", "id44 99999-9999", "id****9999"),
        ("5511999999999-1623281429", "by 5511999999999", "by +55 11 ****-9999"),
        ("120363019502650977-group", "of 120363019502650977", "of ****0977"),
        ("+55 44 98888-7777", "x5544988887777x", "x+55 44 ****-7777x"),
        ("Maria da Silva", "to Maria da Silva", "to ****ilva"),
        ("554499999999", "pedido 123456789", "pedido 123456789"),
        (" ", "a b", "a b"),
    ],
)
def test_one_number_is_found_in_any_of_its_forms(phone, text, masked):
    assert mask_number_in(text, phone) == masked


def test_json_is_masked_in_keys_numbers_and_lists_but_ids_stay():
    value = {
        "phone": 554499999999,
        "zaapId": "123456789",
        "customId": "pedido-554499999999",
        "momment": 1777494091684,
        "5544999999999": [True, None, "to 44 99999-9999", {"other": "14155550123", "price": 1.5}],
    }
    assert mask_json(value, "554499999999", ids=frozenset({"zaapId", "customId"})) == {
        "phone": "+55 44 ****-9999",
        "zaapId": "123456789",
        "customId": "pedido-+55 44 ****-9999",
        "momment": 1777494091684,
        "+55 44 ****-9999": [True, None, "to ****9999", {"other": "****0123", "price": 1.5}],
    }
