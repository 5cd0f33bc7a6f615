"""Questions about stored rows, as words that chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from django.db import models, router
from django.db.models import Q
from django.utils import timezone

from django_plugchat import failures, provider

#: For ``progress``: read comes after received, whatever came first.
_FURTHEST_LAST = ("sent", "failed", "received", "read", "played")


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
        delivered = self.order_by().filter(zaap_id__in=usable).exclude(message_id="")
        followed = Q(
            type=provider.MESSAGE_STATUS_CALLBACK, message_id__in=set(delivered.values_list("message_id", flat=True))
        )
        return self.filter(Q(zaap_id__in=usable) | Q(message_id__in=usable) | followed)

    def progress(self, *ids: str | int | None) -> dict[str, str]:
        """How far each message has come: ``{id: outcome}``, without the ids that nothing is known of.

        ``ids`` are zaapIds or messageIds. Of several outcomes the furthest counts: played, read, received,
        failed, sent. One statement.
        """
        usable = _usable(ids)
        if not usable:
            return {}
        rows = self.order_by().values_list("zaap_id", "message_id", "outcome")
        of_zaap = rows.filter(zaap_id__in=usable)
        followed = rows.filter(
            type=provider.MESSAGE_STATUS_CALLBACK,
            message_id__in=of_zaap.exclude(message_id="").values("message_id"),
        )
        # A union, each part of which has its index: PostgreSQL finds none for an OR with a subquery.
        found = list(of_zaap.union(rows.filter(message_id__in=usable), followed))
        outcomes: dict[str, set[str]] = {wanted: set() for wanted in usable}
        statuses: dict[str, set[str]] = {}
        for zaap_id, message_id, outcome in found:
            for known in {zaap_id, message_id} & outcomes.keys():
                outcomes[known].add(outcome)
            if not zaap_id:
                statuses.setdefault(message_id, set()).add(outcome)
        for zaap_id, message_id, _outcome in found:
            if zaap_id in outcomes:
                outcomes[zaap_id] |= statuses.get(message_id, set())
        return {wanted: max(said, key=_FURTHEST_LAST.index) for wanted, said in outcomes.items() if said}

    def deliveries(self) -> Self:
        """Delivery callbacks, of which each message has one that was sent or failed: what ratios count."""
        return self.filter(type=provider.DELIVERY_CALLBACK)

    def statuses(self) -> Self:
        return self.filter(type=provider.MESSAGE_STATUS_CALLBACK)

    def sent(self) -> Self:
        return self.filter(outcome="sent")

    def failed(self) -> Self:
        return self.filter(outcome="failed")

    def received(self) -> Self:
        return self.filter(outcome="received")

    def read(self) -> Self:
        return self.filter(outcome="read")

    def failed_because(self, kind: str) -> Self:
        """Failed ones of one kind of ``failures.Failure``."""
        return self.failed().alias(**failures.PLAIN_ERROR).filter(failures.of_kind(kind))

    def unfinished(self) -> Self:
        """Events that are to be dispatched, now or later."""
        return self.filter(dispatch_due_at__isnull=False)

    def due(self) -> Self:
        """Events that a sweep may take now: never tried, to be tried again, or left by a worker that died."""
        return self.filter(dispatch_due_at__lte=timezone.now())


def _usable(ids: Any) -> list[str]:
    return [text for value in ids if value is not None and (text := str(value)).strip()]


class RejectedCallbackQuerySet(PlugChatQuerySet):
    def has_at_least(self, rows: int) -> bool:
        """Without counting more than that."""
        return rows < 1 or self.order_by("pk")[rows - 1 : rows].exists()
