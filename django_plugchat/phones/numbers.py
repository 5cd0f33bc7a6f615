"""The one idea of a number: how it is found in a text, told from other digits, compared, shown and hidden.

Masking, searching and erasing use nothing else, so that what one hides the others find. Digits are found first, in
whatever script and notation, and only then it is decided what they are. No pattern is built from input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from django_plugchat.payloads import UNSTORABLE_CHARACTERS
from django_plugchat.phones.digits import Group, are_linked, is_after_plus, read, readings, runs

MASK = "****"

#: Fewer digits in a row call nobody.
SHORTEST_HIDDEN = 7
SHORTEST_NUMBER = 8
_LONGEST_NUMBER = 15  # by E.164
# With prefixes. It bounds how many groups of digits are read as one number.
LONGEST_WRITTEN = 20
_MAX_STORED = 64

# The calling codes: 1 and 7, these of two digits, and all others of three.
_CODES_OF_TWO_DIGITS = re.compile(r"2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]", re.ASCII)
# Where a 0 after the country is part of the number, not the prefix of calls within the country.
_COUNTRIES_WITH_LEADING_ZEROS = frozenset({"39", "225", "226", "229", "241", "242", "378"})

# Mobiles have nine digits, the first a 9; WhatsApp still names many by the eight they once had. Landlines begin 2 to 5
# and have no other form: 44 93333-4444 without its 9 is somebody else's landline.
_MOBILE = re.compile(r"(55[1-9]{2})9?([016-9][0-9]{7})", re.ASCII)
_BRAZILIAN = re.compile(r"55([1-9]{2})([0-9]{4,5})([0-9]{4})", re.ASCII)
_BRAZILIAN_NATIONAL = re.compile(r"[1-9]{2}(?:9[0-9]{8}|[2-9][0-9]{7})", re.ASCII)

# Of an address (5544999999999.0:12@s.whatsapp.net); or a spreadsheet's .0.
_AGENT_AND_DEVICE = re.compile(r"(?:[._][0-9]{1,2})?(?::[0-9]{1,3})?\Z", re.ASCII)
_JSON_TOKENS = re.compile(r'"((?:[^"\\]|\\.)*+)"?(\s*+:)?|[0-9]++', re.DOTALL)
#: Under which the provider names messages, senders and instances.
ID_KEYS = frozenset({"zaapId", "customId", "messageId", "ids", "id", "instanceId"})
_LONGEST_ID = 255
# They are found while a request waits, and kept for each refused body.
_MAX_TERMS = 4096
_MAX_DECOMPRESSED_FOR_TERMS = 1 << 16


class Identity(NamedTuple):
    """What a ``phone`` of the provider names: a number, a ``group`` or channel, a ``lid`` (an id without a number)."""

    digits: str
    kind: str
    is_international: bool  # by its + or 00


# Numbers


def country_of(digits: str) -> str:
    if digits[0] in "17":
        return digits[0]
    return digits[: 2 if _CODES_OF_TWO_DIGITS.match(digits) else 3]


def canonical(written: str) -> tuple[str, bool]:
    """The digits without prefixes, and whether they begin with what may be a country."""
    digits = written.lstrip("0")
    zeros = len(written) - len(digits)
    if zeros == 1 and not _BRAZILIAN.fullmatch(digits):
        # As it is called within its country. Brazil dials 0, two digits of a carrier, the area and the number.
        return digits[2:] if _BRAZILIAN_NATIONAL.fullmatch(digits, 2) else digits, False
    if len(digits) >= 11 and "0" in digits[1:4]:
        country = country_of(digits)
        if digits[len(country)] == "0" and country not in _COUNTRIES_WITH_LEADING_ZEROS:
            digits = country + digits[len(country) :].lstrip("0")
    return digits, True


def both_forms(digits: str) -> list[str]:
    """An international number: as given, then in the other form of Brazil's ninth digit."""
    mobile = _MOBILE.fullmatch(digits)
    if mobile is None:
        return [digits]
    area, local = mobile.groups()
    return [digits, area + local if len(digits) == 13 else f"{area}9{local}"]


def national(international: str) -> str:
    return international[len(country_of(international)) :].lstrip("0")


def identify(phone: str) -> Identity:
    """What a phone names, however it is written. Without digits it names nothing."""
    if phone.isascii() and phone.isdigit() and phone[0] != "0" and len(phone) <= _LONGEST_NUMBER:
        return Identity(canonical(phone)[0], "number", is_international=False)
    clean = read(phone)[0]
    address, _at, server = clean.partition("@")
    run = max(runs(address), key=lambda groups: sum(len(group.digits) for group in groups), default=None)
    if run is None:
        return Identity("", "number", is_international=False)
    kind = "number"
    if len(run[0].digits) >= SHORTEST_NUMBER and _AGENT_AND_DEVICE.match(address, run[0].end):
        run = run[:1]
    written = "".join(group.digits for group in run)
    if server.lower().startswith("lid"):
        return Identity(written, "lid", is_international=False)
    if len(written) > _LONGEST_NUMBER + 2 and len(run) > 1 and len(run[-1].digits) == 10:
        # An old group is named by the number of who created it and the time (5511999999999-1623281429).
        kind, written = "group", "".join(group.digits for group in run[:-1])
    elif len(written.lstrip("0")) > _LONGEST_NUMBER or "group" in clean.lower() or server.lower().startswith("g.us"):
        return Identity(written, "group", is_international=False)
    is_international = written.startswith("00") or is_after_plus(clean, run[0].start)
    digits, has_country = canonical(written)
    return Identity(digits, kind if has_country else "national", is_international)


def is_national(digits: str) -> bool:
    """Whether these are a number of Brazil without its country. They may be one of another country with it."""
    return _BRAZILIAN_NATIONAL.fullmatch(digits) is not None


def normalise(phone: str) -> str:
    """What a phone is stored as and found by, at most 64 characters.

    A number is its international digits; a group or channel the digits of its id, which are more than a number has; an
    old group the number of who created it; a privacy id its digits with ``@lid``.
    """
    if not phone:
        return ""
    identity = identify(phone)
    suffix = "@lid" if identity.kind == "lid" else ""
    return identity.digits[: _MAX_STORED - len(suffix)] + suffix if identity.digits else ""


def searched(typed: str) -> list[str]:
    """The stored forms of what somebody may mean who typed this: with or without the country, in any notation."""
    digits, kind, is_international = identify(typed)
    if kind == "lid":
        return [normalise(typed)]
    if len(digits) < SHORTEST_NUMBER:
        return [digits] if digits else []
    forms = [digits]
    if kind != "group":
        if not is_international and is_national(digits):
            international = both_forms(f"55{digits}")
        else:
            international = both_forms(digits)
        forms += [*international, *(national(form) for form in international), f"{digits}@lid"]
    elif len(digits) <= _LONGEST_NUMBER:
        forms += both_forms(digits)
    return list(dict.fromkeys(forms))


def search_terms(body: bytes) -> str:
    """What a body that was refused is found by: its first numbers and ids, one a line, at most as long as the body."""
    longest = min(max(len(body), _MAX_STORED), _MAX_TERMS)
    kept: dict[str, None] = {}
    length = 1
    for term in _terms(body):
        if term in kept:
            continue
        length += len(term) + 1
        if length > longest:
            break
        kept[term] = None
    return "\n" + "".join(f"{term}\n" for term in kept) if kept else ""


def _terms(body: bytes) -> Iterator[str]:
    for text in readings(body, _MAX_DECOMPRESSED_FOR_TERMS):
        yield from _ids(text)
        clean = read(text)[0]
        for run in runs(clean):
            yield from _numbers(clean, run)


def _ids(text: str) -> Iterator[str]:
    key = ""
    for token in _JSON_TOKENS.finditer(text):
        string, colon = token[1], token[2]
        if colon:
            key = string
        elif key in ID_KEYS:
            value = token[0] if string is None else _unescaped(string)
            if 0 < len(value) <= _LONGEST_ID:
                yield UNSTORABLE_CHARACTERS.sub("\ufffd", value).replace("\n", " ")


def _unescaped(string: str) -> str:
    try:
        return str(json.loads(f'"{string}"')) if "\\" in string else string
    except ValueError:
        return string


def _numbers(clean: str, run: list[Group]) -> Iterator[str]:
    together = ""
    for index, group in enumerate(run):
        if index and (is_after_plus(clean, group.start) or not are_linked(clean, run[index - 1], group)):
            yield from _number(together)
            together = ""
        together += group.digits
        yield from _number(group.digits)
    yield from _number(together)


def _number(digits: str) -> Iterator[str]:
    if SHORTEST_NUMBER <= len(digits) <= LONGEST_WRITTEN:
        yield canonical(digits)[0]


# For reading


def format_phone(phone: str) -> str:
    """``+55 44 99999-9999``. Groups, privacy ids and numbers of other countries stay as they are."""
    identity = identify(phone)
    number = _BRAZILIAN.fullmatch(identity.digits) if identity.kind == "number" else None
    return "+55 {} {}-{}".format(*number.groups()) if number else phone


def mask_phone(phone: str) -> str:
    """The country and the last two digits: ``+55 ****99``. What is left are too many numbers to try."""
    digits, kind, _is_international = identify(phone)
    suffix = {"group": "-group", "lid": "@lid"}.get(kind, "")
    if kind == "number" and len(digits) >= SHORTEST_NUMBER:
        country, rest = country_of(digits), national(digits)
        return f"+{country} {MASK}{rest[-2:] if len(rest) >= SHORTEST_NUMBER else ''}"
    return f"{MASK}{digits[-2:] if len(digits) > SHORTEST_NUMBER else ''}{suffix}"


def mask_id(text: str) -> str:
    """The text with every run of seven or more digits replaced, whatever separates them; the rest as it is."""
    clean, origins = read(text)
    shown: list[str] = []
    end = 0
    for run in runs(clean):
        if sum(len(group.digits) for group in run) >= SHORTEST_HIDDEN:
            shown += (text[end : origins[run[0].start]], MASK)
            end = origins[run[-1].end]
    return "".join(shown) + text[end:] if shown else text
