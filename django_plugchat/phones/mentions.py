"""One number in texts of any kind: in every notation, and told from what only holds its digits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from urllib.parse import unquote

from django_plugchat.phones.digits import Group, are_linked, is_after_plus, only_digits, read, runs
from django_plugchat.phones.numbers import (
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
# The same in groups, where a digit too many does not make it two.
_POSSIBLE_IN_GROUPS = re.compile(r"1[2-9][0-9]{9}|(?!1)[0-9]{8,14}", re.ASCII)
# How many digits a number has at most, with its country. No entry is below 11, because so many digits may also be a
# number of Brazil without its country.
_LONGEST = 13
_LONGEST_OF = {
    **dict.fromkeys(("1", "7", "33", "34", "51", "56", "591", "598"), 11),
    **dict.fromkeys(("44", "57", "58", "81", "351", "353", "595"), 12),
}
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
        self._forms = self.international | self.national
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
            if _has_prefix(clean, group):
                country, since_plus = group.digits.lstrip("0"), ""
            # What begins with + is one number from there on.
            is_within_another = bool(country) and 0 < len(since_plus) < SHORTEST_HIDDEN
            for last, written in self._written_from(clean, run, first):
                found = self._judge(clean, run, first, last, written)
                if not is_within_another or (
                    found is Found.INTERNATIONAL
                    and not _may_be_abroad(country, since_plus + written, in_groups=first < last)
                ):
                    yield found
            since_plus = (since_plus + group.digits.lstrip("0"))[: LONGEST_WRITTEN + 1]

    def _written_from(self, clean: str, run: list[Group], first: int) -> Iterator[tuple[int, str]]:
        """The digits from a group on, each time that they end like the number, and the group in which they do."""
        written = ""
        for last, group in enumerate(run[first : first + LONGEST_WRITTEN], first):
            written += group.digits
            if group.is_in_id or len(written) > LONGEST_WRITTEN:
                return
            if written.endswith(self._end) and clean[group.end : group.end + 4].lower() != "@lid":
                yield last, written

    def _judge(self, clean: str, run: list[Group], first: int, last: int, written: str) -> Found:
        digits, has_country = canonical(written)
        if digits not in self._forms or _is_decimal(clean, run, last, written):
            return Found.NOT
        is_apart = first == last or (_begins(clean, run, first, digits) and _ends(clean, run, last, digits))
        if digits in self.international and has_country and (is_apart or _OF_FIXED_LENGTH.fullmatch(digits)):
            return Found.INTERNATIONAL
        if digits in self.national and is_apart and not _has_prefix(clean, run[first]):
            return Found.NATIONAL
        return Found.NOT


def _has_prefix(clean: str, group: Group) -> bool:
    return is_after_plus(clean, group.start) or _INTERNATIONAL_PREFIX.match(group.digits) is not None


def _may_be_abroad(country: str, digits: str, *, in_groups: bool) -> bool:
    """Whether digits may be one number of another country, whose code is written in one piece."""
    possible = _POSSIBLE_IN_GROUPS if in_groups else _POSSIBLE
    return country_of(digits) == country_of(country) and possible.fullmatch(digits) is not None


def _may_be_one(written: str) -> bool:
    """Whether digits are few enough to be one number, with its country or without."""
    digits, _has_country = canonical(written)
    return len(digits) <= _LONGEST_OF.get(country_of(digits), _LONGEST)


def _is_decimal(clean: str, run: list[Group], last: int, written: str) -> bool:
    """Whether all digits of a number, zeros aside, are what follows the point of a decimal number."""
    if last == 0 or len(written.lstrip("0")) > len(run[last].digits):
        return False
    before = run[last - 1]
    return (
        clean[before.end : run[last].start] == "."
        and len(before.digits) <= _LONGEST_INTEGER_PART
        # "list1." ends with a word, not with a number.
        and not clean[max(0, before.start - 1) : before.start].isalpha()
    )


def _begins(clean: str, run: list[Group], first: int, digits: str) -> bool:
    """Whether a number begins with a group, and is not the rest of a longer one."""
    if not _is_linked(clean, run, first) or _has_prefix(clean, run[first]):
        return True
    # After one group, as in "order 123 351 912 345 678". Several may be what is dialled: "0 41 34 91234-5678".
    return not _is_linked(clean, run, first - 1) and not _may_be_one(run[first - 1].digits + digits)


def _ends(clean: str, run: list[Group], last: int, digits: str) -> bool:
    """Whether a number ends with a group: what follows is another one or a remark, as in "(2 attempts)"."""
    if last + 1 == len(run) or not _is_linked(clean, run, last + 1):
        return True
    following = run[last + 1]
    between = clean[run[last].end : following.start]
    is_remark = len(following.digits) <= _LONGEST_REMARK and ("(" in between or " - " in between)
    return is_remark or not _may_be_one(digits + following.digits)


def _is_linked(clean: str, run: list[Group], index: int) -> bool:
    """Whether a group may belong to the same number as the one before it."""
    return index > 0 and are_linked(clean, run[index - 1], run[index])
