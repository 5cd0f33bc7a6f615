"""How far the messages of a page have come, in one statement for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django_plugchat.models import DeliveryEvent

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
    of_zaap = defaultdict(set)
    for account, zaap_id, message_id, _outcome in told:
        of_zaap[account, zaap_id].add(message_id)
    more = {message_id for event in events for message_id in of_zaap[event.account, event.zaap_id]} - asked
    if more:
        told += _told(set(), more)
    said: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for account, zaap_id, message_id, outcome in told:
        said[account, "zaapId", zaap_id].add(outcome)
        said[account, "messageId", message_id].add(outcome)
    progress = {}
    for event in events:
        names = {("zaapId", event.zaap_id), ("messageId", event.message_id)}
        if event.zaap_id:
            names |= {("messageId", message_id) for message_id in of_zaap[event.account, event.zaap_id]}
        outcomes = {outcome for kind, name in names if name for outcome in said[event.account, kind, name]}
        progress[event.pk] = furthest({event.outcome, *outcomes})
    return progress


def _told(zaap_ids: set[str], message_ids: set[str]) -> list[tuple[str, str, str, str]]:
    """Account, zaapId, messageId and outcome, each combination once."""
    rows = DeliveryEvent.objects.order_by().values_list("account", "zaap_id", "message_id", "outcome")
    # A union, each part of which has its index.
    return list(rows.filter(zaap_id__in=zaap_ids - {""}).union(rows.filter(message_id__in=message_ids - {""})))
