"""The one idea of a number, of a group and of a privacy id: how one is read, compared, stored, searched and shown."""

import re
from typing import NamedTuple

from django_plugchat.phones.reading import Run, plain, runs

MASK = "****"

SHORTEST_NUMBER = 8
LONGEST_NUMBER = 15  # by E.164
#: With prefixes.
LONGEST_WRITTEN = 20

# The calling codes: 1 and 7, these of two digits, and all others of three.
_COUNTRY = re.compile(r"[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[0-9]{0,3}")
# Where a 0 after the country is part of the number, not the prefix of calls within the country.
_KEEPING_THE_ZERO = {"39", "225", "226", "229", "241", "242", "378"}

# Mobiles have nine digits, the first a 9; WhatsApp still names many by the eight they once had. Landlines begin 2 to 5
# and have no other form: 44 93333-4444 without its 9 is somebody else's landline.
_MOBILE = re.compile(r"(55[1-9]{2})9?([016-9][0-9]{7})")
_BRAZILIAN = re.compile(r"55([1-9]{2})([0-9]{4,5})([0-9]{4})")
_BRAZILIAN_NATIONAL = re.compile(r"[1-9]{2}(?:9[0-9]{8}|[2-9][0-9]{7})")

_SUFFIXES = {"lid": "@lid", "channel": "@newsletter", "broadcast": "-broadcast", "group": "-group"}
_KINDS = {suffix: kind for kind, suffix in _SUFFIXES.items()} | {"@broadcast": "broadcast", "@g.us": "group"}

_PLAIN_ID = re.compile(r"[A-Za-z0-9_.:-]*")
_SEVEN_DIGITS = re.compile(r"\d(?:[\W_]*\d){6,}")


class Identity(NamedTuple):
    """What a ``phone`` of the provider names."""

    digits: str
    #: ``number``, ``national`` (without its country), ``group``, ``channel``, ``broadcast``, ``lid`` (a privacy id).
    kind: str
    is_international: bool  # by its + or 00
    #: As they are written, with prefixes.
    all_digits: str


def country_of(digits: str) -> str:
    return _COUNTRY.match(digits)[0]  # type: ignore[index]


def national(international: str) -> str:
    return international[len(country_of(international)) :].lstrip("0")


def is_national(digits: str) -> bool:
    """Whether these are a number of Brazil without its country. They may be one of another country with it."""
    return _BRAZILIAN_NATIONAL.fullmatch(digits) is not None


def canonical(written: str) -> tuple[str, bool]:
    """The digits without prefixes, and whether they begin with what may be a country."""
    digits = written.lstrip("0")
    if len(written) - len(digits) == 1 and not _BRAZILIAN.fullmatch(digits):
        # As it is called within its country. Brazil dials 0, two digits of a carrier, the area and the number.
        return digits[2:] if is_national(digits[2:]) else digits, False
    # More digits are a privacy id, whose zero is its own.
    if 11 <= len(digits) <= 14 and "0" in digits[1:4] and (country := country_of(digits)) not in _KEEPING_THE_ZERO:
        digits = country + national(digits)
    return digits, True


def both_forms(digits: str) -> list[str]:
    """An international number: as given, then in the other form of Brazil's ninth digit."""
    mobile = _MOBILE.fullmatch(digits)
    if mobile is None:
        return [digits]
    area, local = mobile.groups()
    return [digits, area + local if len(digits) == 13 else f"{area}9{local}"]


def identify(phone: str) -> Identity:
    """What a phone names, however it is written. Without digits it names nothing."""
    if phone.isascii() and phone.isdigit() and phone[0] != "0" and len(phone) <= LONGEST_NUMBER:
        return Identity(canonical(phone)[0], "number", False, phone)
    text = plain(phone).lower()
    kind = next((kind for suffix, kind in _KINDS.items() if suffix in text), "")
    found = runs(text.partition("@")[0])
    run = max(found, key=lambda run: sum(map(len, run.groups)), default=Run([], False, False))
    groups = run.groups
    if len(groups) == 2 and len(groups[0]) >= SHORTEST_NUMBER and groups[1] in {"0", "00"}:
        groups = groups[:1]  # an agent (5544999999999.0:12@s.whatsapp.net), or a spreadsheet's .0
    written = "".join(groups)
    is_international = run.is_after_plus or written.startswith("00")
    if kind in {"", "group"} and len(groups) > 1 and len(groups[-1]) == 10 and len(written) > LONGEST_NUMBER + 2:
        # An old group is named by the number of who created it and the time (5511999999999-1623281429).
        written = "".join(groups[:-1])
        return Identity(canonical(written)[0], "group", is_international, written)
    if kind or len(written.lstrip("0")) > LONGEST_NUMBER:
        return Identity(written, kind or "group", is_international, written)
    digits, has_country = canonical(written)
    return Identity(digits, "number" if has_country else "national", is_international, written)


def normalise(phone: str) -> str:
    """What a phone is stored as and found by, at most 64 characters.

    A number is its international digits; a group or channel the digits of its id, an old group the number of who
    created it; a privacy id its digits with ``@lid``, a broadcast list with ``-broadcast``.
    """
    if not phone:
        return ""
    digits, kind, *_written = identify(phone)
    suffix = _SUFFIXES[kind] if kind in {"lid", "broadcast"} else ""
    return digits[: 64 - len(suffix)] + suffix if digits else ""


def searched(typed: str) -> list[str]:
    """The stored forms of what somebody may mean who typed this: with or without the country, in any notation."""
    digits, kind, is_international, written = identify(typed)
    forms = [digits] if kind not in {"lid", "broadcast"} else [normalise(typed)]
    if kind == "lid":
        # It may have come, and be stored, as a number.
        forms += [digits, canonical(digits)[0]]
    elif kind != "broadcast" and SHORTEST_NUMBER <= len(digits) <= LONGEST_NUMBER:
        is_of_brazil = kind != "group" and not is_international and is_national(digits)
        international = both_forms(f"55{digits}" if is_of_brazil else digits)
        forms += [written, *international]
        if kind != "group":
            forms += [*map(national, international), f"{written}@lid"]
    return list(dict.fromkeys(filter(None, forms)))


def format_phone(phone: str) -> str:
    """``+55 44 99999-9999``. Groups, privacy ids and numbers of other countries stay as they are."""
    digits, kind, *_written = identify(phone)
    number = _BRAZILIAN.fullmatch(digits) if kind == "number" else None
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
        return _SEVEN_DIGITS.sub(MASK, text)
    return text if len(text) <= 4 else f"{text[:4]}…"


def mask_numbers(text: str) -> str:
    """A text without any seven digits that may belong together; else as it is. Not for people: see ``mask_id``."""
    without_escapes = plain(text)
    masked = _SEVEN_DIGITS.sub(MASK, without_escapes)
    return text if masked == without_escapes else masked
