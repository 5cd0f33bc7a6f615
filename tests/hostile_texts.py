"""Texts that a stranger may send to make a regular expression take long, and how long it takes."""

import gc
import itertools
import re
import time
from collections.abc import Callable
from typing import Any

LARGE = 64 * 1024
_COMMON = (
    "0",
    "5",
    "a",
    "A",
    " ",
    "\n",
    "\\",
    "\\u0035",
    '"',
    "'",
    "(",
    "-",
    ".",
    "/",
    "%",
    ":",
    "callback/",
    "\u0665",
)
# A pattern that takes each character once takes a third of this for 8 kB; a quadratic one ten times as much.
_WORTH_A_LOOK = 0.01
_FAR_TOO_LONG = 5.0


def _samples_of(pattern: re.Pattern[Any]) -> list[str]:
    """Of what hostile texts are made: what a pattern itself speaks of, and what it may not expect."""
    written = str(pattern.pattern)
    own = re.findall(r"[A-Za-z_]{2,}/?|[^A-Za-z]", written)
    return [*_COMMON, *sorted(set(own).difference(_COMMON))]


def _recipes(pattern: re.Pattern[Any]) -> list[tuple[str, str]]:
    """What a text begins with, and what then repeats: one sample alone, after another one, and both in turn."""
    samples = _samples_of(pattern)
    pairs = list(itertools.product(("", *samples), samples))
    return [*pairs, *(("", first + second) for first, second in pairs if first)]


def _text(recipe: tuple[str, str], size: int) -> str:
    beginning, repeated = recipe
    # With an end that hardly anything matches.
    return beginning + repeated * (size // len(repeated)) + "\0"


def _seconds(function: Callable[[Any], Any], given: Any) -> float:
    # Of this process only, whatever else the machine does. Collecting garbage would look at all that other tests left.
    gc.disable()
    try:
        start = time.process_time()
        function(given)
        return time.process_time() - start
    finally:
        gc.enable()


def grows_too_fast(function: Callable[[Any], Any], beginning: str, repeated: str) -> tuple[bool, float]:
    """Whether 64 kB take much more than eight times as long as 8 kB, and the seconds that they take.

    What is quadratic takes 64 times as long.
    """
    eighth, whole = (_seconds(function, _text((beginning, repeated), size)) for size in (LARGE // 8, LARGE))
    return whole > _FAR_TOO_LONG or (whole > 1 and whole > 24 * eighth), whole


def _driven(pattern: re.Pattern[Any]) -> Callable[[str], None]:
    def drive(text: str) -> None:
        given = text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text
        pattern.fullmatch(given)
        pattern.match(given)
        for _match in pattern.finditer(given):
            pass

    return drive


def slow_text(pattern: re.Pattern[Any]) -> str:
    """The beginning of a text that takes much more than in proportion to its length; "" where none does.

    Exponential growth shows with a few characters. Only texts that take long for 8 kB are driven at full length.
    """
    drive, recipes = _driven(pattern), _recipes(pattern)
    for recipe in recipes:
        if _seconds(drive, _text(recipe, 24)) > 0.1:
            return _text(recipe, 24)
    for recipe in recipes:
        if _seconds(drive, _text(recipe, LARGE // 8)) > _WORTH_A_LOOK and grows_too_fast(drive, *recipe)[0]:
            return _text(recipe, 24)
    return ""
