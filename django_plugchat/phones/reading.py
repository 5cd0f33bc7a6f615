"""Where digits stand in a text, after the escapes of JSON and URLs. Digits first: what they are is decided later."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import unquote

# The backslash and the percent sign may be escaped themselves, as in JSON within JSON.
_OF_JSON = re.compile(r"(?<!\\)\\+(?:u([0-9a-fA-F]{4})|([bfnrt/]))")
_ESCAPED_PERCENT = re.compile(r"%(?:25)+(?=[0-9a-fA-F]{2})")
# As phones and WhatsApp copy numbers: with other blanks and dashes, and marks of the writing's direction.
_SEPARATORS = {
    **dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F], " "),
    **dict.fromkeys([*range(0x2010, 0x2016), 0x2212], "-"),
    **dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF]),
}
# Of a spreadsheet: 5.544988771234E+12, in Brazil with a comma. No number is larger than E+15.
_EXPONENT = re.compile(r"(?<![\w.,])[0-9]{1,15}(?:[.,][0-9]{1,15})?[eE]\+?(?:1[0-5]|0?[0-9])(?!\w)", re.ASCII)

# A hexadecimal id, which changes between digits and letters twice, and 12.5544988771234, a degree of latitude.
_NO_NUMBER = re.compile(
    r"(?<![^\W_])(?=[0-9A-F]++(?![^\W_]))(?:[0-9]+[A-F]+[0-9]|[A-F]+[0-9]+[A-F])[0-9A-F]*"
    r"|(?<![\w+.])[0-9]{1,3}\.[0-9]{12,}(?!\w)",
    re.IGNORECASE,
)
# With " +" or " / " another number begins; in a form's data + is a blank. Digits that touch letters are read only where
# they may be a whole number.
_RUN = re.compile(
    r"(\+[ (]?)?((?<![^\W_])[0-9]++(?:(?:(?! / )[ ()./_-]{1,3}|\+)[0-9]++)*(?![^\W_])|[0-9]{8,})(@lid)?", re.IGNORECASE
)


class Run(NamedTuple):
    """Groups of digits with nothing but separators between them."""

    groups: list[str]
    is_after_plus: bool
    is_lid: bool


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else "/" if escape[2] == "/" else "\n"


def unquoted(text: str) -> str:
    """Without the escapes of URLs."""
    return unquote(_ESCAPED_PERCENT.sub("%", text)) if "%" in text else text


def plain(text: str) -> str:
    """The text without escapes, with blanks and dashes of ASCII, and with numbers written out."""
    text = unquoted(_OF_JSON.sub(_unescaped, text))
    if not text.isascii():
        text = text.translate(_SEPARATORS)
    return _EXPONENT.sub(_written_out, text)


def _written_out(number: re.Match[str]) -> str:
    written = f"{Decimal(number[0].replace(',', '.')):f}"
    return number[0] if "." in written else written


def runs(text: str) -> Iterator[Run]:
    """All digits of a text that is ``plain`` and may be of a number."""
    for plus, digits, lid in _RUN.findall(_NO_NUMBER.sub("z", text)):
        yield Run(re.findall(r"[0-9]+", digits), bool(plus), bool(lid))
