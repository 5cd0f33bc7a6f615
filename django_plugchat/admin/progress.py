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
    """The outcome of each event's message, by the event's primary key.

    As ``DeliveryEventQuerySet.progress()`` reads it, for all accounts at once: two of them may have the same id.
    """
    events = list(events)
    zaap_ids = {event.zaap_id for event in events} - {""}
    message_ids = {event.message_id for event in events} - {""}
    rows: Any = DeliveryEvent.objects.order_by().values_list("account", "zaap_id", "message_id", "outcome")
    of_zaap = rows.filter(zaap_id__in=zaap_ids)
    # The same message may have failed first, without a messageId, and have gone out after all.
    followed = rows.statuses().filter(message_id__in=of_zaap.exclude(message_id="").values("message_id"))
    by_zaap: dict[tuple[str, str], set[str]] = defaultdict(set)
    by_message: dict[tuple[str, str], set[str]] = defaultdict(set)
    messages_of: dict[tuple[str, str], set[str]] = defaultdict(set)
    # A union, each part of which has its index.
    for account, zaap_id, message_id, outcome in of_zaap.union(rows.filter(message_id__in=message_ids), followed):
        by_zaap[account, zaap_id].add(outcome)
        by_message[account, message_id].add(outcome)
        messages_of[account, zaap_id].add(message_id)
    progress = {}
    for event in events:
        said = {event.outcome}
        messages = {event.message_id}
        if event.zaap_id:
            said |= by_zaap[event.account, event.zaap_id]
            messages |= messages_of[event.account, event.zaap_id]
        for message_id in messages - {""}:
            said |= by_message[event.account, message_id]
        progress[event.pk] = furthest(said)
    return progress
