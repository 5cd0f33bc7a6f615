"""One number in all the notations that this app must know, and what only looks like it."""

from __future__ import annotations

import json
from urllib.parse import quote

NUMBER = "5544988771234"
WITHOUT_NINTH_DIGIT = "554488771234"
SOMEBODY_ELSE = "5511988887777"


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


#: With its country. By a name that a table can show.
INTERNATIONAL = {
    "digits": NUMBER,
    "without the ninth digit": WITHOUT_NINTH_DIGIT,
    "plus": f"+{NUMBER}",
    "00": f"00{NUMBER}",
    "spaces": "55 44 98877 1234",
    "plus, parentheses, hyphen": "+55 (44) 98877-1234",
    "plus, a space": f"+ {NUMBER}",
    "dots": "55.44.98877.1234",
    "a dot after the country": "+55.44988771234",
    "slashes": "55/44/98877/1234",
    "underscores": "+55_44_98877_1234",
    "every digit apart": "+" + " ".join(NUMBER),
    "trunk prefix": "+55 (0) 44 98877-1234",
    "trunk prefix, digits": "55044988771234",
    "zeros before": f"0000{NUMBER}",
    "en dash": "+55 44 98877\u20131234",
    "minus sign": "+55 44 98877\u22121234",
    "no-break spaces": "55\xa044\u202f98877\u20111234",
    "zero-width characters": "5\u200b5\u200c4\u200d4\u20609\ufeff8877\u00ad1234",
    "right-to-left marks": f"\u202a+{NUMBER}\u202c",
    "full-width digits": "".join(chr(0xFF10 + int(digit)) for digit in NUMBER),
    "full-width plus": f"\uff0b{NUMBER}",
    "Arabic digits": "".join(chr(0x660 + int(digit)) for digit in NUMBER),
    "Devanagari digits": "".join(chr(0x966 + int(digit)) for digit in NUMBER),
    "mathematical digits": "".join(chr(0x1D7CE + int(digit)) for digit in NUMBER),
    "superscripts": NUMBER.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")),
    "circled digits": NUMBER.translate(str.maketrans("123456789", "①②③④⑤⑥⑦⑧⑨")),
    "two digits in one character": "55㊹98877⑫34",
    "keycaps": "".join(f"{digit}\ufe0f\u20e3" for digit in NUMBER),
    "combining marks": "".join(f"{digit}\u0301" for digit in NUMBER),
    "escapes of JSON": _escaped(NUMBER),
    "an escaped plus": f"\\u002b{NUMBER}",
    "escapes in escapes": _escaped(NUMBER).replace("\\", "\\\\"),
    "escaped backslashes": _escaped(NUMBER).replace("\\", "\\u005c"),
    "escaped surrogates": json.dumps("".join(chr(0x1D7CE + int(digit)) for digit in NUMBER))[1:-1],
    "wa.me": f"wa.me/{NUMBER}",
    "a link": f"https://wa.me/{NUMBER}?text=1",
    "a link with a plus": f"https://api.whatsapp.com/send?phone=%2B{NUMBER}",
    "escapes of a URL": "%2B55%2D44%2D98877%2D1234",
    "digits as escapes of a URL": "".join(f"%{ord(digit):x}" for digit in NUMBER),
    "no-break spaces in a URL": quote("55\xa044\xa098877\xa01234"),
    "full-width digits in a URL": quote("".join(chr(0xFF10 + int(digit)) for digit in NUMBER)),
    "mathematical digits in a URL": quote("".join(chr(0x1D7CE + int(digit)) for digit in NUMBER)),
    "bytes that are no UTF-8 in a URL": "55%A044%A098877%A01234",
    "c.us": f"{NUMBER}@c.us",
    "s.whatsapp.net": f"{WITHOUT_NINTH_DIGIT}@s.whatsapp.net",
    "a device": f"{NUMBER}:12@s.whatsapp.net",
    "agent and device": f"{NUMBER}.0:12@s.whatsapp.net",
    "a spreadsheet's": f"{NUMBER}.0",
    "author of a group": f"{NUMBER}-1623281429",
    "author of a group, c.us": f"{NUMBER}-1623281429@g.us",
    "author of a group, -group": f"{NUMBER}-1623281429-group",
    "words around it": f"Tel {NUMBER} (casa)",
    "letters beside it": f"Zé{NUMBER}ção",
}

#: Without its country: a number of Brazil here, perhaps another one's abroad.
NATIONAL = {
    "national": "44988771234",
    "national, without the ninth digit": "4488771234",
    "national, as people write it": "(44) 98877-1234",
    "national, trunk prefix": "044 98877-1234",
    "national, with a carrier": "0 41 44 98877-1234",
    "national, c.us": "44988771234@c.us",
}

#: Texts in which the number stands, and which are not a phone.
TEXTS = {
    "an id of a group": f"false_120363019502650977@g.us_3EB0_{NUMBER}@c.us",
    "an id": f"order-{NUMBER}-1",
    "a count before it": "ticket 12 55 44 98877-1234",
    "a date before it": f"2026-05-06 {NUMBER}",
    "another number before it": f"{SOMEBODY_ELSE} {NUMBER}",
    "another number before it, plus": f"+{SOMEBODY_ELSE} {NUMBER}",
    "another number before it, dot": f"{SOMEBODY_ELSE}.{NUMBER}",
    "a list": f"{SOMEBODY_ELSE},{NUMBER},{SOMEBODY_ELSE}",
    "an error": f"Phone {NUMBER}. Not found",
    "quoted": f'"\\{NUMBER}"',
    "a control character": f"\x10{NUMBER}\n",
    "a count with zeros before it": f"00012-{NUMBER}",
    "a count with zeros in an id": f"2026-00012-{NUMBER}",
    "a count with more zeros": f"pedido 000123 {NUMBER}",
    "a count like a prefix": f"001 {NUMBER}",
    "a time before it": f"10:00 {NUMBER}",
    "another's code in vain": f"007 {NUMBER}",
    "+1 before it": f"+1. {NUMBER}",
    "+100 before it": f"+100 {NUMBER}",
    "(+5) before it": f"(+5) {NUMBER}",
    "a sum before it": f"2+2 {NUMBER}",
    "a sum before its old form": f"2+2 {WITHOUT_NINTH_DIGIT}",
    "C++ before it": f"C++ 3 {NUMBER}",
    "a numbered word and a dot": f"campanha12.{NUMBER}",
    "a year and a dot": f"2026.{NUMBER}",
    "a letter before it": f"c{NUMBER}",
    "two letters before it": f"bb{NUMBER}",
    "a word of a to f before it": f"cafe{NUMBER}",
    "a letter after it": f"{NUMBER}a",
    "an exponent": f"{NUMBER}e0",
}

#: What holds the digits, and is somebody or something else.
OTHERS = {
    "a longer number": f"{NUMBER}1",
    "a longer number's end": f"1{NUMBER}",
    "another's number": SOMEBODY_ELSE,
    "a decimal number": f"0.{NUMBER}",
    "another decimal number": f"12.{NUMBER}",
    "a hexadecimal id": f"3EB0{NUMBER}AF",
    "a hexadecimal id, small letters": f"a{NUMBER}f",
    "a hexadecimal id's end": f"3EB{NUMBER}",
    "a UUID": "55449887-7123-4a1b-8c2d-1234567890ab",
    "a UUID, fewer changes": "55449887-7123-4abc-8c2d-1234567890ab",
    "abroad": "+49 44 98877 1234",
    "abroad, longer": "+7 55 44 98877 1234",
    "abroad, longer, 00": "007 55 44 98877 1234",
    "a privacy id": f"{NUMBER}@lid",
    "a privacy id, capitals": f"{NUMBER}@LID",
    "two texts": "55449\nz\n88771234",
}
