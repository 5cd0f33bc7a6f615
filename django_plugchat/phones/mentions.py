"""Whether texts mention one person: by a number, told from what only holds its digits, or by a privacy id."""

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum

from django.utils.translation import gettext as _

from django_plugchat.phones import numbers
from django_plugchat.phones.reading import Run, plain, runs

# Countries whose numbers are all equally long: where such a number begins and ends needs no separator.
_OF_FIXED_LENGTH = re.compile(r"55[1-9]{2}[0-9]{8,9}|1[2-9][0-9]{9}", re.ASCII)
#: No number has so many digits: these are a privacy id's.
_SHORTEST_LID = 14
#: Without a + a number must be longer, to be told from one without its country.
_SHORTEST = 10


class Found(IntEnum):
    NOT = 0
    #: It may be somebody else's: without its country, or beside digits that may belong to it.
    PERHAPS = 1
    SURELY = 2


class Person:
    """Who is looked for in texts: a full international number, in both forms of Brazil's ninth digit, or a privacy id.

    Raises ValueError, whose text does not repeat what was given.
    """

    def __init__(self, text: str, *, or_national: bool = False) -> None:
        identity = numbers.identify(text)
        digits, kind, is_international, _written = identity
        is_long = len(digits) >= (numbers.SHORTEST_NUMBER if is_international else _SHORTEST)
        is_whole = kind == "number" and is_long and (is_international or not numbers.is_national(digits))
        has_too_many = sum(map(str.isdigit, plain(text))) > numbers.LONGEST_WRITTEN
        if has_too_many or not (is_whole or (kind == "lid" and digits)):
            raise ValueError(
                _(
                    "That is neither one full international number nor one privacy id (…@lid). Begin with the country "
                    "code, for Brazil 55; write a short number of another country with a + before it."
                )
            )
        #: How sure one must be that it is this person.
        self.enough = Found.PERHAPS if or_national else Found.SURELY
        self._lid = _lid(identity)
        self._international = set() if kind == "lid" else set(numbers.both_forms(digits))
        # Seven digits at least: fewer without a country are found in too many texts.
        self._national = {form for form in map(numbers.national, self._international) if len(form) >= 7}
        self._end = digits[-6:]

    def is_called(self, phone: str) -> bool:
        """Whether a phone is this person, and not a group that they created."""
        return numbers.identify(phone).kind != "group" and self.found_in([phone]) >= self.enough

    def may_be_called(self, phone: str) -> bool:
        """Whether a message to this person may also name them so: by another number only where none is known."""
        identity = numbers.identify(phone)
        is_person = identity.kind in {"number", "national", "lid"}
        return is_person and bool(self._lid or _lid(identity) or self.found_in([phone]))

    def found_in(self, texts: Iterable[str]) -> Found:
        """The most that is found in any of them."""
        # A word between two texts keeps the digits of one from those of the next.
        text = plain("\nz\n".join(texts))
        if self._end not in re.sub(r"[^0-9]+", "", text):
            return Found.NOT
        return max((found for run in runs(text) for found in self._found_in_run(run)), default=Found.NOT)

    def _found_in_run(self, run: Run) -> Iterator[Found]:
        before = 0
        for first, group in enumerate(run.groups):
            if group == self._lid:
                is_number = _OF_FIXED_LENGTH.fullmatch(group) and not run.is_lid
                yield Found.PERHAPS if is_number else Found.SURELY
            written = ""
            for last, digits in enumerate(run.groups[first : first + numbers.LONGEST_WRITTEN], first):
                written += digits
                if written.endswith(self._end) and len(written) <= numbers.LONGEST_WRITTEN and not run.is_lid:
                    after = sum(map(len, run.groups[last + 1 : last + 2]))
                    yield self._judge(written, run, before, after, is_group=first == last)
            before += len(group)

    def _judge(self, written: str, run: Run, before: int, after: int, *, is_group: bool) -> Found:
        """What a part of a run is, with so many digits of it before and in the group after it."""
        digits, has_country = numbers.canonical(written)
        is_fixed = _OF_FIXED_LENGTH.fullmatch(digits) is not None
        has_prefix = run.is_after_plus or run.groups[0].startswith("00")
        is_apart = is_group or is_fixed
        # Too few digits are no number of their own: they belong to what follows or precedes, unless that is too long.
        ends = is_apart or after == 0 or after + len(digits) > numbers.LONGEST_NUMBER
        begins = before == 0 or before >= numbers.SHORTEST_NUMBER or (is_group and is_fixed)
        begins |= not has_prefix and (is_apart or before + len(digits) > numbers.LONGEST_NUMBER)
        if has_country and digits in self._international and begins:
            return Found.SURELY if ends else Found.PERHAPS
        if digits in self._national and begins and not (has_prefix and before == 0):
            return Found.PERHAPS
        return Found.NOT


def _lid(identity: numbers.Identity) -> str:
    """The digits of a privacy id, which may be bare; "" of anybody else."""
    return identity.all_digits if identity.kind == "lid" or len(identity.all_digits) >= _SHORTEST_LID else ""
