"""One number in texts of any kind: in every notation, and told from what only holds its digits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from urllib.parse import unquote

from django_plugchat.digits import Group, are_linked, is_after_plus, only_digits, read, runs
from django_plugchat.phones import LONGEST_WRITTEN, SHORTEST_HIDDEN, SHORTEST_NUMBER, both_forms, canonical, national

# Countries whose numbers are all equally long: where such a number ends needs no separator.
_OF_FIXED_LENGTH = re.compile(r"55[1-9]{2}[0-9]{8,9}|1[2-9][0-9]{9}", re.ASCII)


class Found(IntEnum):
    NOT = 0
    #: Without its country: it may be another one's abroad.
    NATIONAL = 1
    INTERNATIONAL = 2


class Wanted:
    """A number that is looked for in texts, in every notation, in both forms of Brazil's ninth digit."""

    def __init__(self, number: str) -> None:
        self.international = frozenset(both_forms(number))
        self.national = frozenset(national(form) for form in self.international)
        self._end = number[-6:]

    def found_in(self, texts: Iterable[str]) -> Found:
        """The most that is found in any of them."""
        # A word between two texts keeps the digits of one from those of the next.
        text = "\nz\n".join(texts)
        found = self._found_in(text)
        if "%" in text and found is not Found.INTERNATIONAL:
            found = max(found, self._found_in(unquote(text)))
        return found

    def _found_in(self, text: str) -> Found:
        clean = read(text)[0]
        if self._end not in only_digits(clean):
            return Found.NOT
        return max((found for run in runs(clean) for found in self._found_in_run(clean, run)), default=Found.NOT)

    def _found_in_run(self, clean: str, run: list[Group]) -> Iterator[Found]:
        since_plus = SHORTEST_NUMBER
        for first, group in enumerate(run):
            is_plus = is_after_plus(clean, group.start)
            # What begins with + is one number from there on.
            since_plus = 0 if is_plus or group.digits.startswith("00") else since_plus
            may_begin = since_plus == 0 or since_plus >= SHORTEST_HIDDEN
            since_plus += len(group.digits)
            if may_begin and not _is_fraction(clean, run, first):
                yield from self._found_from(clean, run, first, is_plus)

    def _found_from(self, clean: str, run: list[Group], first: int, is_plus: bool) -> Iterator[Found]:
        written = ""
        for last in range(first, len(run)):
            group = run[last]
            written += group.digits
            if (
                group.is_in_id
                or len(written) > LONGEST_WRITTEN
                or (written == "0" and _is_fraction(clean, run, last + 1))
            ):
                return
            if written.endswith(self._end) and not clean.startswith("@lid", group.end):
                yield self._judge(written, is_plus, first == last or _is_apart(clean, run, first, last))

    def _judge(self, written: str, is_plus: bool, is_apart: bool) -> Found:
        digits, has_country = canonical(written)
        if digits in self.international and has_country and (is_apart or _OF_FIXED_LENGTH.fullmatch(digits)):
            return Found.INTERNATIONAL
        if digits in self.national and is_apart and not is_plus and not written.startswith("00"):
            return Found.NATIONAL
        return Found.NOT


def _is_fraction(clean: str, run: list[Group], index: int) -> bool:
    """Whether a group is what follows the point of a decimal number."""
    if not 0 < index < len(run):
        return False
    before = run[index - 1]
    return clean[before.end : run[index].start] == "." and len(before.digits) <= 4


def _is_apart(clean: str, run: list[Group], first: int, last: int) -> bool:
    """Whether several groups are a number of their own, and not the middle of a longer one."""
    begins = first == 0 or not are_linked(clean, run[first - 1], run[first])
    return begins and (last + 1 == len(run) or not are_linked(clean, run[last], run[last + 1]))
