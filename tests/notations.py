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
    "+100 before its groups": "+100 55 44 98877-1234",
    "001 before its groups": "001 55 44 98877-1234",
    "a count like a prefix before its groups": "lote 0012 55 44 98877-1234",
    "(+5) before it": f"(+5) {NUMBER}",
    "(+5) before its groups": "(+5) 55 44 98877-1234",
    "a sum before its groups": "2+2 55 44 98877-1234",
    "an item of a list before its groups": "12.55 44 98877-1234",
    "the end of another number like a prefix": "+55 11 98800-0012 / 55 44 98877-1234",
    "an escaped form feed before its groups": "Tel:\\f55 44 98877-1234",
    "an escaped line break within it": "+55 44\\n98877-1234",
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

#: What people and systems write beside a number, and what between the two.
BESIDE = (
    *(
        "pedido",
        "12",
        "123",
        "1234",
        "#123",
        "00012",
        "0012",
        "001",
        "+100",
        "2x",
        "1ª",
        "Nº 7",
        "v1.2.3",
        "-1",
        "1/2",
        "50%",
    ),
    *("2026", "2026-05-06", "06/05/2026", "10:32", "10:32:05", "1714999999999", "R$ 12,50", "1.250,00", "3.5"),
    *(
        "CPF 123.456.789-09",
        "CNPJ 12.345.678/0001-95",
        "87020-000",
        "10.0.0.1",
        "ramal 12",
        "(1)",
        "[12]",
        "(2 tentativas)",
    ),
    *(SOMEBODY_ELSE, "+55 11 98888-7777", "(11) 98888-7777", "+351 913 345 678"),
)
BETWEEN = (
    *(" ", ", ", "; ", "\n", "\t", " / ", " - ", " (", ": ", "/", "|", "_", "...", " e ", "&phone=", '", "'),
    *("\\n", "\\t", "\\f", "\\/", "\\u00a0", "\u00a0", " \uff0f "),
)

#: Numbers that are found beside anything: of Brazil and North America however they are written, of other countries in
#: one piece or after a + or 00.
NUMBERS = (
    *((NUMBER, INTERNATIONAL[name]) for name in ("digits", "plus", "spaces", "plus, parentheses, hyphen", "dots")),
    *((NUMBER, INTERNATIONAL[name]) for name in ("00", "full-width digits", "underscores", "c.us", "zeros before")),
    *((NUMBER, written) for written in (WITHOUT_NINTH_DIGIT, "55 44 8877-1234", "+55 (44) 8877-1234")),
    *(
        ("12025550143", written)
        for written in ("12025550143", "+1 202 555 0143", "+1 (202) 555-0143", "1-202-555-0143")
    ),
    *(("351912345678", written) for written in ("351912345678", "+351 912 345 678")),
    *(("34612345678", written) for written in ("34612345678", "+34 612 34 56 78", "0034 612 345 678")),
    *(("447911123456", written) for written in ("447911123456", "+44 7911 123456", "+44 (0)7911 123456")),
    *(("59899123456", written) for written in ("59899123456", "+598 99 123 456")),
    ("4915123456789", "4915123456789"),
)

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
