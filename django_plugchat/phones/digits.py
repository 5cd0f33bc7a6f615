"""Reading a text for its digits: in whatever script, escape, encoding, and whatever separates them."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

_PLAIN_ASCII = r"[\x00-\x24\x26-\x5b\x5d-\x7f]+"
# An escape of JSON, whose backslash may be escaped itself, and the second half of a surrogate pair.
_ESCAPE = r"\\(?:u005[cC])*u([0-9a-fA-F]{4})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?"
# One character of a URL that may stand within a number: a digit or separator, or no ASCII.
_PERCENT_ESCAPE = (
    r"%(?:[23][0-9a-fA-F]|0[9aAdD]|5[fF]|7[b-eB-E]"
    r"|[c-fC-F][0-9a-fA-F](?:%[89abAB][0-9a-fA-F]){1,3}|[89a-fA-F][0-9a-fA-F])"
)
# JSON's as well, whose letter would keep the digits around it apart.
_WHITE_SPACE = r"\\[bfnrt]"
_UNITS = re.compile(rf"{_PLAIN_ASCII}|{_ESCAPE}|({_PERCENT_ESCAPE})|({_WHITE_SPACE})|.", re.DOTALL)
_MINUS = "\u2212"
_INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0"

_WORDS = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"[0-9]+")
_NOT_DIGITS = re.compile(r"[^0-9]+")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]+")
# More digits in a row may be a number beside a word of the letters a to f.
_LONGEST_IN_ID = 7
# What people write within a number. After anything else another one may begin.
_WITHIN_A_NUMBER = re.compile(r"[ ()./\\_-]{1,3}")

# In UTF-16 and UTF-32 each digit has a zero byte. Where fewer than one byte in so many is zero, only ASCII is read.
_ZERO_BYTES_IN_WIDE_TEXT = 8
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_MAX_DECOMPRESSED = 1 << 20


class Group(NamedTuple):
    """Digits in a row, and where they are in the text as it was read."""

    digits: str
    start: int
    end: int
    #: Within an id of hexadecimal digits, where they mean something else.
    is_in_id: bool


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cf", "Mn", "Me"} or character in _INVISIBLE_LETTERS:
        return ""
    if category == "Zs":
        return " "
    if category == "Pd" or character == _MINUS:
        return "-"
    compatible = unicodedata.normalize("NFKC", character)
    digits = [unicodedata.digit(part, None) for part in compatible]
    if not any(digit is not None for digit in digits):
        return character
    return "".join(part if digit is None else str(digit) for part, digit in zip(compatible, digits, strict=True))


def read(text: str) -> tuple[str, Sequence[int]]:
    """The text as it is read here, and for each of its characters, and its end, where that was."""
    if text.isascii() and "\\" not in text and "%" not in text:
        return text, range(len(text) + 1)
    parts: list[str] = []
    origins: list[int] = []
    for unit in _UNITS.finditer(text):
        part = unit[0]
        if unit[1]:
            low = int(unit[2], 16) if unit[2] else 0
            code = int(unit[1], 16)
            if low and 0xD800 <= code < 0xDC00:
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
            part = _plain(chr(code))
        elif unit[3]:
            part = "".join(map(_plain, unquote(part)))
        elif unit[4]:
            part = "\n"
        elif not part.isascii():
            part = _plain(part)
        parts.append(part)
        if len(part) == unit.end() - unit.start():
            origins.extend(range(unit.start(), unit.end()))
        else:
            origins.extend([unit.start()] * len(part))
    origins.append(len(text))
    return "".join(parts), origins


def only_digits(clean: str) -> str:
    return _NOT_DIGITS.sub("", clean)


def runs(clean: str) -> Iterator[list[Group]]:
    """Groups of digits with nothing but separators between them, from a text that ``read`` gave."""
    run: list[Group] = []
    for word in _WORDS.finditer(clean):
        text, start = word[0], word.start()
        if text.isdigit():
            run.append(Group(text, start, word.end(), is_in_id=False))
            continue
        is_id, is_mixed = _is_hexadecimal(text)
        end = 0
        for digits in _DIGITS.finditer(text):
            if digits.start() > end or (end and run):
                if run:
                    yield run
                run = []
            end = digits.end()
            is_in_id = is_id and (is_mixed or len(digits[0]) <= _LONGEST_IN_ID)
            run.append(Group(digits[0], start + digits.start(), start + end, is_in_id))
        if end < len(text) and run:
            yield run
            run = []
    if run:
        yield run


def _is_hexadecimal(word: str) -> tuple[bool, bool]:
    """Whether a word may be hexadecimal, and whether digits and letters alternate in it, as they do in an id."""
    mantissa, _e, exponent = word.lower().partition("e")
    is_number = mantissa.isdigit() and exponent in {"0", "00"}
    if is_number or not _HEXADECIMAL.fullmatch(word):
        return False, False
    has_letters_around = not (word[0].isdigit() or word[-1].isdigit())
    return True, has_letters_around or len(_DIGITS.findall(word)) > 1


def is_after_plus(clean: str, start: int) -> bool:
    return clean[start - 1 : start] == "+" or clean[max(0, start - 2) : start] in {"+ ", "+("}


def are_linked(clean: str, before: Group, after: Group) -> bool:
    """Whether what is between two groups is what people write within one number."""
    return _WITHIN_A_NUMBER.fullmatch(clean, before.end, after.start) is not None


def readings(body: bytes, max_decompressed: int = _MAX_DECOMPRESSED) -> Iterator[str]:
    """What the bytes of a callback may say, whichever encoding they are in."""
    yield from _decodings(body)
    if body.startswith(_COMPRESSED):
        try:
            yield from _decodings(zlib.decompressobj(wbits=47).decompress(body, max_decompressed))
        except zlib.error:
            return


def _decodings(body: bytes) -> Iterator[str]:
    text = body.decode(errors="replace")
    yield text
    if "\ufffd" in text:
        yield body.decode("latin-1")
    zeros = body.count(0)
    if zeros * _ZERO_BYTES_IN_WIDE_TEXT > len(body):
        width = 32 if zeros * 2 > len(body) else 16
        order = "le" if body[1::2].count(0) * 2 > zeros else "be"
        yield body.decode(f"utf-{width}-{order}", errors="replace")
    if zeros:
        yield body.replace(b"\0", b"").decode("latin-1")
