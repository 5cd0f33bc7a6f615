"""Bytes to JSON that every database can hold."""

import json
import math
import re
from codecs import BOM_UTF8
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import ParseError

MAX_DEPTH = 20
MAX_INTEGER_DIGITS = 1000

#: What PostgreSQL's jsonb and text columns refuse: U+0000 and lone surrogates.
UNSTORABLE_CHARACTERS = re.compile("[\x00\ud800-\udfff]")


def _parse_int(digits: str) -> float:
    # One integer type for "too large" beside 1e999, which the decoder already makes infinite.
    return int(digits) if len(digits.lstrip("-")) <= MAX_INTEGER_DIGITS else math.inf


_DECODER = json.JSONDecoder(parse_int=_parse_int)


def parse(body: bytes) -> Any:
    """Parse UTF-8 JSON; numbers that are too large come out infinite. Raises ParseError, with code ``not_json``."""
    try:
        return _DECODER.decode(body.removeprefix(BOM_UTF8).decode())  # skipped by RFC 8259, section 8.1
    except (ValueError, RecursionError):
        raise ParseError(_("The body is not JSON in UTF-8."), code="not_json") from None


def storable(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The same JSON value with U+FFFD for what no database holds. Raises ParseError (``not_storable``) for all else."""
    if isinstance(value, str):
        # Nearly all are: much faster than a search.
        if value.isascii() and "\0" not in value:
            return value
        return UNSTORABLE_CHARACTERS.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        text = _("Numbers must be finite, and integers have at most %(digits)d digits.")
        raise ParseError(text % {"digits": MAX_INTEGER_DIGITS}, code="not_storable")
    if isinstance(value, dict | list):
        if not depth:
            text = _("The JSON is nested more than %(depth)d levels deep.")
            raise ParseError(text % {"depth": MAX_DEPTH}, code="not_storable")
        if isinstance(value, list):
            return [storable(item, depth - 1) for item in value]
        return {storable(key): storable(item, depth - 1) for key, item in value.items()}
    return value
