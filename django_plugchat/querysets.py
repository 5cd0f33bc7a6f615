"""Questions about stored rows, as words that chain."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Self, TypeVar

from django.apps import apps
from django.db import models, router
from django.db.models import Case, CharField, IntegerField, Max, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce, Greatest, NullIf, Substr
from django.db.models.lookups import Exact
from django.utils import timezone

from django_plugchat.provider.callbacks import DELIVERY_CALLBACK, MESSAGE_STATUS_CALLBACK

#: Each outcome so that the furthest is the greatest. Read comes after received, whatever came first.
_RANK_OF = {"sent": "0sent", "failed": "1failed", "received": "2received", "read": "3read", "played": "4played"}
_RANK = Case(*(When(outcome=outcome, then=Value(rank)) for outcome, rank in _RANK_OF.items()), output_field=CharField())
#: What says that the contact received a message, and saw it.
_REACHED, _SEEN = ("received", "read", "played"), ("read", "played")
_HAPPENED = Coalesce("occurred_at", "received_at")

#: The messageIds of one message, of which there is one unless somebody made them up.
_MOST_FOLLOWED = 1_000

_Id = TypeVar("_Id", bound=str | int)


class PlugChatQuerySet(models.QuerySet[Any]):
    def for_account(self, alias: str) -> Self:
        return self.filter(account=alias)

    def for_writing(self) -> Self:
        """On the database that is written: a replica may lag behind what was decided a moment ago."""
        return self.using(router.db_for_write(self.model))

    def _for_deciding(self) -> Self:
        """What users act upon is asked of the database that is written, unless they chose another."""
        return self if self._db else self.for_writing()  # type: ignore[attr-defined]

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
        usable, rows = _usable(ids), self._for_deciding()
        # Not a subquery: beside an OR, PostgreSQL would read the whole table.
        delivered = rows.order_by("-received_at", "-pk").filter(zaap_id__in=usable).exclude(message_id="")
        wanted = Q(zaap_id__in=usable) | Q(message_id__in=usable)
        of_account: dict[str, set[str]] = defaultdict(set)
        for account, message_id in delivered.values_list("account", "message_id")[:_MOST_FOLLOWED]:
            of_account[account].add(message_id)
        for account, message_ids in of_account.items():
            wanted |= Q(account=account, type=MESSAGE_STATUS_CALLBACK, message_id__in=message_ids)
        return rows.filter(wanted)

    def progress(self, *ids: _Id | None) -> dict[_Id, str]:
        """How far each message has come: ``{id: outcome}``, without the ids that nothing is known of.

        ``ids`` are zaapIds or messageIds, and the keys are the ids as they were given, an integer as an integer. Of
        several outcomes the furthest counts: played, read, received, failed, sent. One statement.
        """
        text_of: dict[Any, str] = {given: text for given in ids for text in _usable([given])}
        usable, rows = list(text_of.values()), self._for_deciding().order_by()
        own, other = self._of_statuses(_RANK, "outcome")
        of_zaap, of_message = rows.filter(zaap_id__in=usable), rows.filter(message_id__in=usable)
        said = of_zaap.values_list("zaap_id", _greatest(_RANK, own)).union(
            of_message.values_list("message_id").annotate(rank=Max(_RANK)),
            of_message.deliveries().values_list("message_id", _greatest(self._of_tries(), other)),
            all=True,
        )
        furthest: dict[str, str] = {}
        # Without the limit PostgreSQL expects thousands of rows for a zaapId, of which there is hardly more than one.
        for known, rank in said[: 50 + 8 * len(usable)]:
            furthest[known] = max(furthest.get(known, ""), rank or "")
        return {given: furthest[text][1:] for given, text in text_of.items() if furthest.get(text)}

    def furthest(self) -> str:
        """How far the one message has come that all these events are about; "" without any."""
        rank = self.aggregate(rank=Max(_RANK))["rank"]
        return rank[1:] if rank else ""

    def messages(self) -> Self:
        """The delivery callbacks, each with how far its message has come, and since when.

        ``progress`` is an outcome; ``reached_at``, when the contact received it, and ``read_at`` are null where nothing
        said so. In a group the first participant counts.
        """
        return self.deliveries().with_progress()

    def with_progress(self) -> Self:
        """The same for any event: a status whose delivery callback was lost speaks for its message."""
        return self.annotate(
            progress=Substr(self._furthest(), 2), reached_at=self._first(_REACHED), read_at=self._first(_SEEN)
        )

    def came_to(self, outcome: str) -> Self:
        """Messages that came exactly so far."""
        is_it = Case(When(furthest=_RANK_OF[outcome], then=1), default=0, output_field=IntegerField())
        # Compared so that PostgreSQL expects a third to match: of an equality it expects one in 200, and compiles the
        # statement for seconds before it begins.
        return self.messages().alias(furthest=self._furthest(), is_it=is_it).filter(is_it__gt=0)

    def undelivered(self, older_than: timedelta = timedelta(0), since: timedelta = timedelta(days=7)) -> Self:
        """Messages that were sent longer than ``older_than`` ago and that the contact has not received.

        Only where that says something: of accounts that had any message received within ``since``, and of no instance
        that is known as disconnected.
        """
        now, rows = timezone.now(), self._for_deciding()
        told = self._everything().statuses().filter(account=OuterRef("account"), outcome__in=_REACHED)
        told = told.filter(received_at__gte=now - since).order_by("-received_at", "-id")
        connections = apps.get_model("django_plugchat", "Connection")._default_manager
        away = connections.filter(account=OuterRef("account"), is_connected=False)
        # Where one of the two has no id, there is but one instance.
        away = away.filter(
            Q(instance_id__in=["", OuterRef("instance_id")]) | Q(Exact(OuterRef("instance_id"), Value("")))
        )
        rows = rows.came_to("sent").exclude(message_id="").filter(received_at__lte=now - older_than)
        rows = rows.alias(heard=Subquery(told.values("pk")[:1]), away=Subquery(away.values("pk")[:1]))
        return rows.filter(heard__isnull=False, away=None)

    def _everything(self) -> Self:
        return self.model._default_manager.all()  # type: ignore[no-any-return]

    # What follows is looked up for one row after another, along the indexes of zaapId and messageId, which are in the
    # order of the outcomes. A bare EXISTS would become a join with all statuses that there are. Millions of zaapIds are
    # blank, so PostgreSQL expects many rows of any other, and compiles for seconds what it thinks expensive, but for
    # the LIMIT. SQLite, which knows nothing of its rows, would read all of an account, but for the double negation.

    def _furthest(self) -> Greatest:
        """The rank of a row's message, by all that was said about it."""
        return _greatest(_RANK, self._of_tries(), *self._of_statuses(_RANK, "outcome"))

    def _of_tries(self) -> Subquery:
        """Whether any delivery callback of a row's zaapId failed: the first of the outcomes."""
        tries = self._of_zaap(OuterRef("account"), OuterRef("zaap_id")).order_by("outcome")
        return Subquery(tries.values(it=_RANK)[:1])

    def _first(self, outcomes: tuple[str, ...]) -> Coalesce:
        """When a status of a row's message first said the least of these outcomes."""
        return Coalesce(*self._of_statuses(_HAPPENED, "-outcome", "id", outcome__in=outcomes))

    def _of_statuses(self, told: Any, *order: str, **conditions: Any) -> list[Subquery]:
        """Of a row's messageId; then of another of its zaapId: the first try may have failed without a messageId."""
        others = self._of_zaap(OuterRef(OuterRef("account")), OuterRef(OuterRef("zaap_id"))).exclude(message_id="")
        other = others.exclude(message_id=OuterRef(OuterRef("message_id"))).values("message_id")[:1]
        rows = self._everything().filter(_same(OuterRef("account")), **conditions).exclude(type=DELIVERY_CALLBACK)
        return [
            Subquery(rows.filter(message_id=message_id).order_by(*order).values(it=told)[:1])
            for message_id in (NullIf(OuterRef("message_id"), Value("")), Subquery(other))
        ]

    def _of_zaap(self, account: OuterRef, zaap_id: OuterRef) -> Self:
        # Nothing equals null, which a blank one becomes.
        return self._everything().filter(_same(account), zaap_id=NullIf(zaap_id, Value("")))

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

    def unfinished(self) -> Self:
        """Events that are to be dispatched, now or later."""
        return self.filter(dispatch_due_at__isnull=False)

    def due(self) -> Self:
        """Events that a sweep may take now: never tried, to be tried again, or left by a worker that died."""
        return self.filter(dispatch_due_at__lte=timezone.now())


def _greatest(*ranks: Any) -> Greatest:
    return Greatest(*(Coalesce(rank, Value("")) for rank in ranks))


def _same(account: OuterRef) -> Q:
    return ~Q(~Q(account=account))


def _usable(ids: Any) -> list[str]:
    # PostgreSQL refuses to look for U+0000, which no stored id has.
    return [text for value in ids if value is not None and (text := str(value)).strip() and "\0" not in text]
