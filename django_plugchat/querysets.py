"""Questions about stored rows, as words that chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self, TypeVar

from django.db import models, router
from django.db.models import Case, IntegerField, Max, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from django_plugchat.provider.callbacks import DELIVERY_CALLBACK, MESSAGE_STATUS_CALLBACK

#: For ``progress``: read comes after received, whatever came first.
_FURTHEST_LAST = ("sent", "failed", "received", "read", "played")
_STEP = Case(
    *(When(outcome=outcome, then=step) for step, outcome in enumerate(_FURTHEST_LAST)), output_field=IntegerField()
)

#: The messageIds of one message, of which there is one unless somebody made them up.
_MOST_FOLLOWED = 1_000

_Id = TypeVar("_Id", bound=str | int)


class PlugChatQuerySet(models.QuerySet[Any]):
    def for_account(self, alias: str) -> Self:
        return self.filter(account=alias)

    def for_writing(self) -> Self:
        """On the database that is written: a replica may lag behind what was decided a moment ago."""
        return self.using(router.db_for_write(self.model))

    def in_batches(self, size: int, by: str = "pk") -> Iterator[list[Any]]:
        """Walk along the index of a field, ``-field`` backwards: flat memory, and nothing open between batches.

        A server-side cursor would need a transaction for as long as the walk takes, which a pooler does not keep.
        """
        field, backwards = by.removeprefix("-"), by.startswith("-")
        rows = self.order_by(by, "-pk" if backwards else "pk")
        comparison = "lt" if backwards else "gt"
        batch = list(rows[:size])
        while batch:
            # Before the batch is handed out, which may change its rows.
            last, last_pk = getattr(batch[-1], field), batch[-1].pk
            yield batch
            beyond = Q(**{f"{field}__{comparison}": last}) | Q(**{field: last, f"pk__{comparison}": last_pk})
            # The first condition is implied by the second; by it the database finds where to begin.
            batch = list(rows.filter(**{f"{field}__{comparison}e": last}).filter(beyond)[:size])


class DeliveryEventQuerySet(PlugChatQuerySet):
    def for_zaap_id(self, zaap_id: str | int | None) -> Self:
        """Blank or None finds nothing."""
        return self.filter(zaap_id__in=_usable([zaap_id]))

    def for_custom_id(self, custom_id: str | int | None) -> Self:
        """Blank or None finds nothing, not the events without a customId."""
        return self.filter(custom_id__in=_usable([custom_id]))

    def for_message(self, *ids: str | int | None) -> Self:
        """All that was said about messages, by the zaapId or messageId that the answer to their sending gave.

        Statuses name a message by its messageId alone. Which one belongs to a zaapId its delivery callback says: for
        that this asks the database at once. Blank or None finds nothing.
        """
        usable = _usable(ids)
        if not usable:
            return self.none()
        # Not a subquery: beside an OR, PostgreSQL would read the whole table.
        delivered = self.order_by("-received_at", "-pk").filter(zaap_id__in=usable).exclude(message_id="")
        followed = Q(
            type=MESSAGE_STATUS_CALLBACK,
            message_id__in=set(delivered.values_list("message_id", flat=True)[:_MOST_FOLLOWED]),
        )
        return self.filter(Q(zaap_id__in=usable) | Q(message_id__in=usable) | followed)

    def progress(self, *ids: _Id | None) -> dict[_Id, str]:
        """How far each message has come: ``{id: outcome}``, without the ids that nothing is known of.

        ``ids`` are zaapIds or messageIds, and the keys are the ids as they were given, an integer as an integer. Of
        several outcomes the furthest counts: played, read, received, failed, sent. One statement.
        """
        text_of = {given: text for given in ids if given is not None for text in _usable([given])}
        if not text_of:
            return {}
        usable = list(text_of.values())
        rows = self.order_by()
        # Correlated, so that each message is looked up by its index: for a join PostgreSQL may read the whole table.
        furthest_status = (
            rows.statuses()
            .filter(message_id=OuterRef("message_id"))
            .exclude(message_id="")
            .values("message_id")
            .annotate(furthest=Max(_STEP))
            .values("furthest")
        )
        of_zaap = rows.filter(zaap_id__in=usable).values_list("zaap_id", _STEP, Coalesce(furthest_status, 0))
        of_message = rows.filter(message_id__in=usable).values_list("message_id", _STEP, Value(0))
        furthest: dict[str, int] = {}
        for known, *steps in of_zaap.union(of_message, all=True):
            furthest[known] = max(furthest.get(known, 0), *steps)
        return {given: _FURTHEST_LAST[furthest[text]] for given, text in text_of.items() if text in furthest}

    def deliveries(self) -> Self:
        """Delivery callbacks, of which each message has one that was sent or failed: what ratios count."""
        return self.filter(type=DELIVERY_CALLBACK)

    def statuses(self) -> Self:
        return self.filter(type=MESSAGE_STATUS_CALLBACK)

    def sent(self) -> Self:
        return self.filter(outcome="sent")

    def failed(self) -> Self:
        return self.filter(outcome="failed")

    def received(self) -> Self:
        return self.filter(outcome="received")

    def read(self) -> Self:
        return self.filter(outcome="read")

    def failed_because(self, kind: str) -> Self:
        """Failed ones of one kind of ``Failure``."""
        return self.filter(failure=kind)

    def unfinished(self) -> Self:
        """Events that are to be dispatched, now or later."""
        return self.filter(dispatch_due_at__isnull=False)

    def due(self) -> Self:
        """Events that a sweep may take now: never tried, to be tried again, or left by a worker that died."""
        return self.filter(dispatch_due_at__lte=timezone.now())


def _usable(ids: Any) -> list[str]:
    # PostgreSQL refuses to look for U+0000, which no stored id has.
    return [text for value in ids if value is not None and (text := str(value)).strip() and "\0" not in text]


class RejectedCallbackQuerySet(PlugChatQuerySet):
    def has_at_least(self, rows: int) -> bool:
        """Without counting more than that."""
        return rows < 1 or self.order_by("pk")[rows - 1 : rows].exists()
