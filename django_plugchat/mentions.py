"""One number in texts of any kind: in every notation, and told from what only holds its digits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from urllib.parse import unquote

from django_plugchat.digits import Group, are_linked, is_after_plus, only_digits, read, runs
from django_plugchat.phones import (
    LONGEST_WRITTEN,
    SHORTEST_HIDDEN,
    both_forms,
    canonical,
    country_of,
    national,
)

# Countries whose numbers are all equally long: where such a number ends needs no separator.
_OF_FIXED_LENGTH = re.compile(r"55[1-9]{2}[0-9]{8,9}|1[2-9][0-9]{9}", re.ASCII)
# What may follow + or 00, as far as it is known here: a number that is longer is two.
_POSSIBLE = re.compile(r"1[2-9][0-9]{9}|7[0-9]{10}|55[1-9]{2}(?:9[0-9]{8}|[0-9]{8})|(?!1|7|55)[0-9]{8,13}", re.ASCII)
_INTERNATIONAL_PREFIX = re.compile(r"00[1-9]", re.ASCII)
_LONGEST_REMARK = 2
_LONGEST_INTEGER_PART = 3


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
        country, since_plus = "", ""
        for first, group in enumerate(run):
            is_plus = is_after_plus(clean, group.start)
            if is_plus or _INTERNATIONAL_PREFIX.match(group.digits):
                country, since_plus = group.digits.lstrip("0"), ""
            # What begins with + is one number from there on.
            is_within_another = bool(country) and 0 < len(since_plus) < SHORTEST_HIDDEN
            since_plus = (since_plus + group.digits.lstrip("0"))[: LONGEST_WRITTEN + 1]
            if _is_fraction(clean, run, first):
                continue
            if not is_within_another:
                yield from self._found_from(clean, run, range(first, len(run)), is_plus)
            elif group.digits in self.international and not _may_be_abroad(country, since_plus):
                yield from self._found_from(clean, run, range(first, first + 1), is_plus)

    def _found_from(self, clean: str, run: list[Group], indexes: range, is_plus: bool) -> Iterator[Found]:
        written = ""
        first = indexes[0]
        for last in indexes:
            group = run[last]
            written += group.digits
            if (
                group.is_in_id
                or len(written) > LONGEST_WRITTEN
                or (written == "0" and _is_fraction(clean, run, last + 1))
            ):
                return
            if written.endswith(self._end) and clean[group.end : group.end + 4].lower() != "@lid":
                yield self._judge(written, is_plus, first == last or _is_apart(clean, run, first, last))

    def _judge(self, written: str, is_plus: bool, is_apart: bool) -> Found:
        digits, has_country = canonical(written)
        if digits in self.international and has_country and (is_apart or _OF_FIXED_LENGTH.fullmatch(digits)):
            return Found.INTERNATIONAL
        if digits in self.national and is_apart and not is_plus and not written.startswith("00"):
            return Found.NATIONAL
        return Found.NOT


def _may_be_abroad(country: str, digits: str) -> bool:
    """Whether digits may be one number of another country, whose code is written in one piece."""
    return country_of(digits) == country_of(country) and _POSSIBLE.fullmatch(digits) is not None


def _is_fraction(clean: str, run: list[Group], index: int) -> bool:
    """Whether a group is what follows the point of a decimal number."""
    if not 0 < index < len(run):
        return False
    before = run[index - 1]
    return (
        clean[before.end : run[index].start] == "."
        and len(before.digits) <= _LONGEST_INTEGER_PART
        # "list1." ends with a word, not with a number.
        and not clean[max(0, before.start - 1) : before.start].isalpha()
    )


def _is_apart(clean: str, run: list[Group], first: int, last: int) -> bool:
    """Whether several groups are a number of their own, and not the middle of a longer one."""
    begins = first == 0 or not are_linked(clean, run[first - 1], run[first])
    return begins and (last + 1 == len(run) or _ends_before(clean, run[last], run[last + 1]))


def _ends_before(clean: str, last: Group, following: Group) -> bool:
    """Whether a number ends with a group: what follows is another one or a remark, as in "(2 attempts)"."""
    between = clean[last.end : following.start]
    if len(following.digits) <= _LONGEST_REMARK and ("(" in between or " - " in between):
        return True
    return not are_linked(clean, last, following)
