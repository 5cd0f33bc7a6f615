"""Phone numbers as Brazil writes them: both forms of the ninth digit, for reading, and masked."""

from __future__ import annotations

import re
from typing import Any

# Mobiles have nine digits, the first a 9; WhatsApp still names many by the eight they once had. Landlines begin 2 to 5
# and have no other form: 44 93333-4444 without its 9 is somebody else's landline.
_MOBILE = re.compile(r"(55[1-9]{2})9?([016-9][0-9]{7})", re.ASCII)
_BRAZILIAN = re.compile(r"55([1-9]{2})([0-9]{4,5})([0-9]{4})", re.ASCII)
_WRITTEN = re.compile(r"[0-9+().\s-]+")
_SEPARATOR = r"[\s().-]{0,3}"

# Eight digits or more, on their own or separated as people do; not a part of an id, unless it is a whole Brazilian
# number, and not milliseconds since the epoch.
_LIKE_A_PHONE = re.compile(
    rf"(?<![0-9A-Za-z])(?!1[0-9]{{12}}(?![0-9A-Za-z]))(?:\+{_SEPARATOR})?\(?(?:[0-9]{_SEPARATOR}){{7,}}[0-9](?![0-9A-Za-z])"
    r"|(?<![0-9])55[1-9]{2}9?[0-9]{8}(?![0-9])"
)
# In JSON that does not parse, a digit may be written as an escape.
_ESCAPED_DIGIT = re.compile(r"\\u003([0-9])")


def digits(value: str) -> str:
    return re.sub(r"[^0-9]", "", value)


def variants(number: str) -> list[str]:
    """The digits of a full international number: as given, then in the other form of Brazil's ninth digit."""
    given = digits(number)
    mobile = _MOBILE.fullmatch(given)
    if mobile is None:
        return [given] if given else []
    area, local = mobile.groups()
    return [given, area + local if len(given) == 13 else f"{area}9{local}"]


def searched(typed: str, *, whole_only: bool) -> list[str]:
    """The stored numbers that somebody may mean, however they typed it.

    ``whole_only`` takes no number without its country: nobody who may not see numbers finds one by its parts.
    """
    number = digits(typed)
    if not number or any(character.isalpha() for character in typed):
        return [typed]
    numbers = variants(number)
    if not whole_only and len(national := number.lstrip("0")) in (10, 11):
        numbers += variants(f"55{national}")
    return [typed, *numbers, f"{number}-group", f"{number}@lid"]


def _brazilian(value: str) -> re.Match[str] | None:
    return _BRAZILIAN.fullmatch(digits(value)) if _WRITTEN.fullmatch(value) else None


def format_phone(value: str) -> str:
    """For reading: ``+55 44 99999-9999``. Groups, privacy ids and numbers of other countries stay as they are."""
    number = _brazilian(value)
    return "+55 {} {}-{}".format(*number.groups()) if number else value


def mask_phone(value: str) -> str:
    """Enough to tell numbers apart on a page, too little to call one: ``+55 44 ****-9999``."""
    number = _brazilian(value)
    if number:
        return f"+55 {number[1]} ****-{number[3]}"
    name, kind = re.fullmatch(r"(?s)(.*?)(-group|@[a-z.]{1,20})?", value).groups()  # type: ignore[union-attr]
    return f"****{name[-4:] if len(name) > 8 else ''}{kind or ''}"


def _forms_of(phone: str) -> re.Pattern[str] | None:
    """What finds a number in a text: both forms, with and without the country, however its digits are separated."""
    forms = {number for run in re.findall(r"[0-9]{6,}", phone) for number in variants(run)}
    if _brazilian(phone):
        forms |= set(variants(phone))
    forms |= {form[2:] for form in forms if _BRAZILIAN.fullmatch(form)}
    if phone.strip():
        forms.add(phone)
    longest_first = sorted(forms, key=len, reverse=True)
    return re.compile("|".join(_SEPARATOR.join(map(re.escape, form)) for form in longest_first)) if forms else None


def mask_number_in(text: str, phone: str) -> str:
    """The text without that one number; the rest, ids among it, stays as it is."""
    # A pattern for each row of a long export would be most of its time.
    known = digits(text)
    if phone not in text and not any(
        run[-6:] in known for run in re.findall(r"[0-9]{6,}", digits(phone) + " " + phone)
    ):
        return text
    forms = _forms_of(phone)
    return forms.sub(lambda match: mask_phone(match[0]), text) if forms else text


def mask_phones_in(text: str, phone: str = "") -> str:
    """The text without that number and without anything that looks like one."""
    text = mask_number_in(_ESCAPED_DIGIT.sub(r"\1", text), phone)
    return _LIKE_A_PHONE.sub(lambda match: mask_phone(match[0]), text)


def mask_json(value: Any, phone: str = "", *, ids: frozenset[str] = frozenset(), key: str = "") -> Any:
    """JSON without phone numbers, keys and integers included. Under the keys ``ids`` only ``phone`` itself goes."""
    if isinstance(value, dict):
        return {mask_phones_in(name, phone): mask_json(item, phone, ids=ids, key=name) for name, item in value.items()}
    if isinstance(value, list):
        return [mask_json(item, phone, ids=ids, key=key) for item in value]
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        text = str(value)
        masked = mask_number_in(text, phone) if key in ids else mask_phones_in(text, phone)
        return value if masked == text else masked
    return value
