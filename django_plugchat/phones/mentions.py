"""Whether texts mention one person: by a number, told from what only holds its digits, or by a privacy id."""

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum

from django_plugchat.phones.numbers import (
    LONGEST_NUMBER,
    LONGEST_WRITTEN,
    SHORTEST_NUMBER,
    Identity,
    both_forms,
    canonical,
    national,
)
from django_plugchat.phones.reading import Run, plain, runs

# Countries whose numbers are all equally long: where such a number begins and ends needs no separator.
_OF_FIXED_LENGTH = re.compile(r"55[1-9]{2}[0-9]{8,9}|1[2-9][0-9]{9}", re.ASCII)
# Such as 12.5544988771234, a degree of latitude.
_DECIMAL = re.compile(r"(?<![\w+.])[0-9]{1,3}\.[0-9]{12,}(?!\w)", re.ASCII)
_NOT_DIGITS = re.compile(r"[^0-9]+")
# Fewer digits without a country are found in too many texts.
_SHORTEST_NATIONAL = 7
#: No number has so many digits: these are a privacy id's.
SHORTEST_LID = 14


class Found(IntEnum):
    NOT = 0
    #: It may be somebody else's: without its country, or beside digits that may belong to it.
    PERHAPS = 1
    SURELY = 2


class Wanted:
    """A person that is looked for in texts: by a number, in both forms of Brazil's ninth digit, or by a privacy id."""

    def __init__(self, identity: Identity) -> None:
        is_lid = identity.kind == "lid"
        self._lid = identity.all_digits if is_lid or len(identity.all_digits) >= SHORTEST_LID else ""
        self._international = set() if is_lid else set(both_forms(identity.digits))
        self._national = {form for form in map(national, self._international) if len(form) >= _SHORTEST_NATIONAL}
        self._end = identity.digits[-6:]

    def found_in(self, texts: Iterable[str]) -> Found:
        """The most that is found in any of them."""
        # A word between two texts keeps the digits of one from those of the next.
        text = plain("\nz\n".join(texts))
        if self._end not in _NOT_DIGITS.sub("", text):
            return Found.NOT
        text = _DECIMAL.sub("z", text)
        return max((found for run in runs(text) for found in self._found_in_run(run)), default=Found.NOT)

    def _found_in_run(self, run: Run) -> Iterator[Found]:
        before = 0
        for first, group in enumerate(run.groups):
            if group == self._lid:
                is_number = _OF_FIXED_LENGTH.fullmatch(group) and not run.is_lid
                yield Found.PERHAPS if is_number else Found.SURELY
            written = ""
            for last, digits in enumerate(run.groups[first : first + LONGEST_WRITTEN], first):
                written += digits
                if len(written) > LONGEST_WRITTEN:
                    break
                if written.endswith(self._end) and not run.is_lid:
                    yield self._judge(run, first, last, written, before)
            before += len(group)

    def _judge(self, run: Run, first: int, last: int, written: str, before: int) -> Found:
        """What some groups of a run are, with so many digits of it before them."""
        digits, has_country = canonical(written)
        is_fixed = _OF_FIXED_LENGTH.fullmatch(digits) is not None
        has_prefix = run.is_after_plus or run.groups[0].startswith("00")
        after = len(run.groups[last + 1]) if last + 1 < len(run.groups) else 0
        # Too few digits are no number of their own: they belong to what follows or precedes, unless that is too long.
        begins = before == 0 or before >= SHORTEST_NUMBER or (not has_prefix and before + len(digits) > LONGEST_NUMBER)
        ends = after == 0 or after + len(digits) > LONGEST_NUMBER
        is_alone = first == last and (not has_prefix or begins or is_fixed)
        if has_country and digits in self._international:
            if is_alone or (is_fixed and (begins or not has_prefix)):
                return Found.SURELY
            if begins:
                return Found.SURELY if ends else Found.PERHAPS
        elif digits in self._national and (is_alone or begins) and not (has_prefix and before == 0):
            return Found.PERHAPS
        return Found.NOT
