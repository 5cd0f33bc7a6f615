"""Where digits stand in a text, after the escapes of JSON and URLs. Digits first: what they are is decided later."""

import re
from collections.abc import Iterator
from typing import NamedTuple

# Escapes of digits and of what stands between them. Others stay, so that no digits come to be that nobody wrote.
# The backslash and the percent sign may be escaped themselves, as in JSON within JSON.
_OF_JSON = re.compile(r"(?<!\\)\\+(?:u([0-9a-fA-F]{4})|([bfnrt/]))")
_OF_URL = re.compile(r"%(?:25)*(?:[cC]2%(?:25)*)?(2[089bdefBDEF]|3[0-9aA]|40|5[fF]|[aA]0)")
# As phones and WhatsApp copy numbers: with other blanks and dashes, and marks of the writing's direction.
_SEPARATORS = {
    **dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F], " "),
    **dict.fromkeys([*range(0x2010, 0x2016), 0x2212], "-"),
    **dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF]),
}
# Of a spreadsheet: 5.544988771234E+12, in Brazil with a comma.
_EXPONENT = re.compile(r"(?<![\w.,])([0-9]{1,15})(?:[.,]([0-9]{1,15}))?[eE]\+?([0-9]{1,2})(?!\w)", re.ASCII)
_MAX_EXPONENT = 15

_HEXADECIMAL = re.compile(r"(?<![^\W_])(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]++(?![^\W_])")
_OF_ID = re.compile(r"[A-Fa-f][0-9]+[A-Fa-f]|[0-9][A-Fa-f]+[0-9]")
# With " +" or " / " another number begins; in a form's data + is a blank. Beside letters
# stands only what may be a whole number.
_RUN = re.compile(
    r"(\+[ (]?)?((?<![^\W_])[0-9]++(?:(?:(?! / )[ ()./_-]{1,3}|\+)[0-9]++)*(?![^\W_])|[0-9]{8,})(@lid)?", re.IGNORECASE
)
_DIGITS = re.compile(r"[0-9]+")


class Run(NamedTuple):
    """Groups of digits with nothing but separators between them."""

    groups: list[str]
    is_after_plus: bool
    is_lid: bool


def without_escapes_of_json(text: str) -> str:
    return _OF_JSON.sub(_unescaped, text) if "\\" in text else text


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else "/" if escape[2] == "/" else "\n"


def plain(text: str) -> str:
    """The text without escapes, with blanks and dashes of ASCII, and with numbers written out."""
    text = without_escapes_of_json(text)
    if "%" in text:
        text = _OF_URL.sub(lambda escape: chr(int(escape[1], 16)), text)
    if not text.isascii():
        text = text.translate(_SEPARATORS)
    if "e" in text or "E" in text:
        text = _EXPONENT.sub(_written_out, text)
    return text


def _written_out(number: re.Match[str]) -> str:
    decimals, exponent = number[2] or "", int(number[3])
    return number[1] + decimals.ljust(exponent, "0") if len(decimals) <= exponent <= _MAX_EXPONENT else number[0]


def runs(text: str) -> Iterator[Run]:
    """All digits of a text that is ``plain``, but those of hexadecimal ids."""
    text = _HEXADECIMAL.sub(lambda word: "z" if _OF_ID.search(word[0]) else word[0], text)
    for plus, digits, lid in _RUN.findall(text):
        yield Run(_DIGITS.findall(digits), bool(plus), bool(lid))
