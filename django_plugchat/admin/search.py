"""What people type or paste to find a message: an id, ``#123``, several ids, a number as it is written on a card."""

import logging
import re

from django.db.models import Q
from django.http import HttpRequest

from django_plugchat.admin.base import sees_phones
from django_plugchat.phones.numbers import LONGEST_WRITTEN, SHORTEST_NUMBER, searched

logger = logging.getLogger("django_plugchat.admin")

MAX_TERMS = 100
#: At once, for those who may not see numbers: a search also says whether a number was written to.
MAX_NUMBERS_UNSEEN = 5
_SEPARATORS = re.compile(r"[,;\t\r\n]|\s(?=\+)")
# A group's, made of its founder's number and a time; more are the digits of several numbers.
_LONGEST_STORED = 25


def terms(typed: str) -> list[str]:
    """What may be meant, each once: the whole, what commas and lines separate, and words, unless they make a number."""
    parts = _SEPARATORS.split(typed)
    found = [typed, *parts]
    for part in parts:
        digits = sum(character.isdigit() for character in part)
        is_number = SHORTEST_NUMBER <= digits <= LONGEST_WRITTEN and not any(map(str.isalpha, part))
        found += [] if is_number else part.split()
    cleaned = (term.strip().strip("\"'").removeprefix("#").strip() for term in found)
    return list(dict.fromkeys(filter(None, cleaned)))[:MAX_TERMS]


def found_by(request: HttpRequest, typed: str) -> Q:
    """The events that are meant, each of these conditions by its index."""
    #: Each term with the stored forms of the number that it is or holds.
    wanted = {
        term: frozenset(form for form in searched(term) if SHORTEST_NUMBER <= len(form) <= _LONGEST_STORED)
        for term in terms(typed)
    }
    numbers = list(dict.fromkeys(filter(None, wanted.values())))
    if numbers and not sees_phones(request):
        # In ids as well: some are made of a number.
        numbers = numbers[:MAX_NUMBERS_UNSEEN]
        wanted = {term: forms for term, forms in wanted.items() if not forms or forms in numbers}
        logger.info("%s searched for phone numbers: %d.", request.user.get_username(), len(numbers))
    # Ids of the provider are upper-case hex, and are read aloud.
    ids = {*wanted, *(term.upper() for term in wanted)}
    condition = Q(zaap_id__in=ids) | Q(custom_id__in=ids) | Q(message_id__in=ids)
    if numbers:
        digits = frozenset().union(*numbers)
        condition |= Q(phone_digits__in=digits) | Q(participant_digits__in=digits)
    return condition
