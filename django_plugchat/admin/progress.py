"""How far the messages of a page have come, in one statement for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db.models import Max

from django_plugchat.models import DeliveryEvent

#: Of one zaapId, the newest ones. It has one, unless somebody made them up.
MAX_MESSAGES_FOLLOWED = 50
#: Of one page, the newest ones.
MAX_TOLD = 20_000

#: From the least to the most that can be said of a message: the order of the choices.
_STEPS = DeliveryEvent.Outcome.values


def furthest(outcomes: Iterable[str]) -> str:
    """Read comes after received, whatever came first."""
    return max(outcomes, key=_STEPS.index)


def of_page(events: Iterable[DeliveryEvent]) -> dict[Any, str]:
    """The outcome of the message of each delivery callback, by the callback's primary key.

    As ``DeliveryEventQuerySet.progress()`` reads it, for all accounts at once: two of them may have the same id.
    """
    events = list(events)
    asked = {event.message_id for event in events}
    told = _told({event.zaap_id for event in events}, asked)
    # A message that failed first, perhaps without a messageId, may have gone out after all. Not in a subquery, for
    # which PostgreSQL would read the whole table.
    of_zaap: dict[tuple[str, str], set[str]] = defaultdict(set)
    for account, zaap_id, message_id, _outcome, _newest in told:
        if zaap_id and message_id and len(of_zaap[account, zaap_id]) < MAX_MESSAGES_FOLLOWED:
            of_zaap[account, zaap_id].add(message_id)
    zaaps = {(event.account, event.zaap_id) for event in events}
    more = {message_id for zaap in zaaps for message_id in of_zaap[zaap]} - asked
    if more:
        told += _told(set(), more)
    said: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for account, zaap_id, message_id, outcome, _newest in told:
        said[account, "zaapId", zaap_id].add(outcome)
        said[account, "messageId", message_id].add(outcome)
    # Once for each zaapId, which a whole page may share.
    said_of_zaap = {
        (account, zaap_id): said[account, "zaapId", zaap_id].union(
            *(said[account, "messageId", message_id] for message_id in of_zaap[account, zaap_id])
        )
        for account, zaap_id in zaaps
        if zaap_id
    }
    progress = {}
    for event in events:
        outcomes = {event.outcome} | said_of_zaap.get((event.account, event.zaap_id), set())
        if event.message_id:
            outcomes |= said[event.account, "messageId", event.message_id]
        progress[event.pk] = furthest(outcomes)
    return progress


def _told(zaap_ids: set[str], message_ids: set[str]) -> list[tuple[Any, ...]]:
    """Account, zaapId, messageId, outcome, and when it came last; each combination once, the newest first."""
    columns = ("account", "zaap_id", "message_id", "outcome")
    rows = DeliveryEvent.objects.order_by().values_list(*columns).annotate(newest=Max("received_at"))
    # A union, each part of which has its index.
    told = rows.filter(zaap_id__in=zaap_ids - {""}).union(rows.filter(message_id__in=message_ids - {""}))
    return list(told.order_by("-newest")[:MAX_TOLD])
