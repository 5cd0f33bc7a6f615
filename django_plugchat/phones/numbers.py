"""The one idea of a number, of a group and of a privacy id: how one is read, compared, stored, searched and shown."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from django_plugchat.phones.reading import plain, runs, without_escapes_of_json

MASK = "****"

SHORTEST_NUMBER = 8
LONGEST_NUMBER = 15  # by E.164
#: With prefixes.
LONGEST_WRITTEN = 20
_MAX_STORED = 64

# The calling codes: 1 and 7, these of two digits, and all others of three.
_CODES_OF_TWO_DIGITS = re.compile(r"2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]", re.ASCII)
# Where a 0 after the country is part of the number, not the prefix of calls within the country.
_COUNTRIES_WITH_LEADING_ZEROS = frozenset({"39", "225", "226", "229", "241", "242", "378"})
# More digits are a privacy id, whose zero is its own.
_LONGEST_WITH_TRUNK_PREFIX = 14

# Mobiles have nine digits, the first a 9; WhatsApp still names many by the eight they once had. Landlines begin 2 to 5
# and have no other form: 44 93333-4444 without its 9 is somebody else's landline.
_MOBILE = re.compile(r"(55[1-9]{2})9?([016-9][0-9]{7})", re.ASCII)
_BRAZILIAN = re.compile(r"55([1-9]{2})([0-9]{4,5})([0-9]{4})", re.ASCII)
_BRAZILIAN_NATIONAL = re.compile(r"[1-9]{2}(?:9[0-9]{8}|[2-9][0-9]{7})", re.ASCII)

_KINDS = {"lid": "lid", "newsletter": "channel", "broadcast": "broadcast", "g.us": "group", "group": "group"}
_SUFFIXES = {"lid": "@lid", "channel": "@newsletter", "broadcast": "-broadcast", "group": "-group"}

_PLAIN_ID = re.compile(r"[A-Za-z0-9_.:-]*")
_START_OF_OTHER_IDS = 4
_NUMBER_IN_ID = re.compile(r"[0-9](?:[_.:-]*[0-9]){6,}")
_NUMBER_IN_TEXT = re.compile(r"\d(?:[\W_]{0,4}\d){6,}")

#: Under which the provider names messages, senders and instances.
_ID_KEYS = frozenset({"zaapId", "customId", "messageId", "ids", "id", "instanceId"})
_JSON_TOKENS = re.compile(r'"((?:[^"\\]|\\.)*+)"?(\s*+:)?|[0-9]++', re.DOTALL)
_LONGEST_ID = 255
# Terms are found while a request waits, and kept for each refused body.
_MOST_READ = 8192
_MOST_TERMS = 4096


class Identity(NamedTuple):
    """What a ``phone`` of the provider names."""

    digits: str
    #: ``number``, ``national`` (without its country), ``group``, ``channel``, ``broadcast``, ``lid`` (a privacy id).
    kind: str
    is_international: bool  # by its + or 00
    #: As they are written, with prefixes.
    all_digits: str


def country_of(digits: str) -> str:
    if digits[0] in "17":
        return digits[0]
    return digits[: 2 if _CODES_OF_TWO_DIGITS.match(digits) else 3]


def canonical(written: str) -> tuple[str, bool]:
    """The digits without prefixes, and whether they begin with what may be a country."""
    digits = written.lstrip("0")
    if len(written) - len(digits) == 1 and not _BRAZILIAN.fullmatch(digits):
        # As it is called within its country. Brazil dials 0, two digits of a carrier, the area and the number.
        return digits[2:] if _BRAZILIAN_NATIONAL.fullmatch(digits, 2) else digits, False
    if 11 <= len(digits) <= _LONGEST_WITH_TRUNK_PREFIX and "0" in digits[1:4]:
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
    if phone.isascii() and phone.isdigit() and phone[0] != "0" and len(phone) <= LONGEST_NUMBER:
        return Identity(canonical(phone)[0], "number", False, phone)
    address, _at, server = plain(phone).lower().partition("@")
    kind = next((kind for name, kind in _KINDS.items() if server.startswith(name) or name in address), "")
    run = max(runs(address), key=lambda run: sum(map(len, run.groups)), default=None)
    if run is None:
        return Identity("", kind or "number", False, "")
    groups = run.groups
    if len(groups) == 2 and len(groups[0]) >= SHORTEST_NUMBER and groups[1] in {"0", "00"}:
        groups = groups[:1]  # an agent (5544999999999.0:12@s.whatsapp.net), or a spreadsheet's .0
    written = "".join(groups)
    if kind in {"", "group"} and len(groups) > 1 and len(groups[-1]) == 10 and len(written) > LONGEST_NUMBER + 2:
        # An old group is named by the number of who created it and the time (5511999999999-1623281429).
        kind, written = "group", "".join(groups[:-1])
        return Identity(canonical(written)[0], kind, False, written)
    if kind or len(written.lstrip("0")) > LONGEST_NUMBER:
        return Identity(written, kind or "group", False, written)
    digits, has_country = canonical(written)
    is_international = run.is_after_plus or written.startswith("00")
    return Identity(digits, "number" if has_country else "national", is_international, written)


def is_national(digits: str) -> bool:
    """Whether these are a number of Brazil without its country. They may be one of another country with it."""
    return _BRAZILIAN_NATIONAL.fullmatch(digits) is not None


def normalise(phone: str) -> str:
    """What a phone is stored as and found by, at most 64 characters.

    A number is its international digits; a group or channel the digits of its id, an old group the number of who
    created it; a privacy id its digits with ``@lid``, a broadcast list with ``-broadcast``.
    """
    if not phone:
        return ""
    digits, kind, *_written = identify(phone)
    suffix = _SUFFIXES[kind] if kind in {"lid", "broadcast"} else ""
    return digits[: _MAX_STORED - len(suffix)] + suffix if digits else ""


def searched(typed: str) -> list[str]:
    """The stored forms of what somebody may mean who typed this: with or without the country, in any notation."""
    digits, kind, is_international, written = identify(typed)
    if kind in {"broadcast", "lid"}:
        # A privacy id may have come, and be stored, as a number.
        forms = [normalise(typed), *([digits, canonical(digits)[0]] if kind == "lid" else [])]
    elif len(digits) < SHORTEST_NUMBER or len(digits) > LONGEST_NUMBER:
        forms = [digits]
    else:
        is_of_brazil = kind != "group" and not is_international and is_national(digits)
        forms = [digits, written, *both_forms(f"55{digits}" if is_of_brazil else digits)]
        if kind != "group":
            forms += [*map(national, forms[2:]), f"{written}@lid"]
    return list(dict.fromkeys(filter(None, forms)))


# For reading


def format_phone(phone: str) -> str:
    """``+55 44 99999-9999``. Groups, privacy ids and numbers of other countries stay as they are."""
    identity = identify(phone)
    number = _BRAZILIAN.fullmatch(identity.digits) if identity.kind == "number" else None
    return "+55 {} {}-{}".format(*number.groups()) if number else phone


def mask_phone(phone: str) -> str:
    """The country and the last two digits: ``+55 ****99``. What is left are too many numbers to try."""
    digits, kind, *_written = identify(phone)
    if kind == "number" and len(digits) >= SHORTEST_NUMBER:
        rest = national(digits)
        return f"+{country_of(digits)} {MASK}{rest[-2:] if len(rest) >= SHORTEST_NUMBER else ''}"
    return f"{MASK}{digits[-2:] if len(digits) > SHORTEST_NUMBER else ''}{_SUFFIXES.get(kind, '')}"


def mask_id(text: str) -> str:
    """A plain id without the numbers in it; the first characters of any other, which may hold anything."""
    if _PLAIN_ID.fullmatch(text):
        return _NUMBER_IN_ID.sub(MASK, text)
    return text if len(text) <= _START_OF_OTHER_IDS else f"{text[:_START_OF_OTHER_IDS]}…"


def mask_numbers(text: str) -> str:
    """A text without any seven digits that may belong together; else as it is. Not for people: see ``mask_id``."""
    without_escapes = plain(text)
    masked = _NUMBER_IN_TEXT.sub(MASK, without_escapes)
    return text if masked == without_escapes else masked


# Of bodies that were refused


def search_terms(body: bytes) -> str:
    """What a refused body is found by: the ids and numbers at its beginning, one a line."""
    terms = dict.fromkeys(_terms(without_escapes_of_json(body[:_MOST_READ].decode(errors="replace"))))
    lines = "".join(f"\n{term}" for term in terms) + "\n"
    return lines[: lines.rfind("\n", 0, _MOST_TERMS) + 1] if terms else ""


def _terms(text: str) -> Iterator[str]:
    key = ""
    for token in _JSON_TOKENS.finditer(text):
        string, colon = token[1], token[2]
        if colon:
            key = string
        elif key in _ID_KEYS:
            value = token[0] if string is None else string
            if 0 < len(value) <= _LONGEST_ID and value.isprintable():
                yield value
    for run in runs(plain(text)):
        for digits in ("".join(run.groups), *run.groups):
            if SHORTEST_NUMBER <= len(digits) <= LONGEST_WRITTEN:
                yield canonical(digits)[0]
