"""What is deleted because it is old.

In small batches, each a short transaction of its own, so that callbacks are stored meanwhile, and so that what was
deleted stays deleted when the rest is left for another time.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.db import IntegrityError, connections, models, transaction
from django.db.models.deletion import Collector
from django.utils.translation import gettext as _

from django_plugchat import statements
from django_plugchat.models import DeliveryEvent
from django_plugchat.querysets import DeliveryEventQuerySet, PlugChatQuerySet


class Deletion(NamedTuple):
    """How many rows were deleted, and the keys of those that are needed, with what needs them."""

    deleted: int
    needed: dict[Any, set[str]]


def delete(rows: PlugChatQuerySet, keys: list[Any], *, at_once: int = 100, dry_run: bool = False) -> Deletion:
    """Delete those of the rows that have these keys, so many ``at_once``; all but what a project's own tables need.

    These may say ``PROTECT`` or ``RESTRICT``, also of what would be deleted along with ours, or leave it to the
    database to refuse. The last is not known in a ``dry_run``.
    """
    needed: dict[Any, set[str]] = {}
    if not keys:
        return Deletion(0, needed)
    if len(keys) <= at_once:
        chosen = rows.filter(pk__in=keys)
        try:
            if dry_run:
                Collector(using=chosen.db).collect(chosen)
                return Deletion(chosen.count(), {})
            return Deletion(statements.trying_again(chosen.db, partial(_delete, chosen)), {})
        except IntegrityError as error:  # those of Django are kinds of it
            needed = _needed(rows, keys)
            if not needed and len(keys) == 1:
                by: Any = getattr(error, "protected_objects", None) or getattr(error, "restricted_objects", ())
                needed = {keys[0]: {row._meta.label for row in by} or {_("another table")}}
    others = [key for key in keys if key not in needed]
    # Too many are halved; so are those of which none is needed directly, until those are found that are.
    middle = len(others) if needed else len(others) // 2
    parts = [delete(rows, part, at_once=at_once, dry_run=dry_run) for part in (others[:middle], others[middle:])]
    for part in parts:
        needed |= part.needed
    return Deletion(sum(part.deleted for part in parts), needed)


def _delete(chosen: PlugChatQuerySet) -> int:
    with transaction.atomic(using=chosen.db):
        # In the order in which callbacks lock them, who would else wait for us while we wait for them.
        list(chosen.order_by("fingerprint").select_for_update().values_list("pk", flat=True))
        _total, by_model = chosen.delete()
    # Not what a project's own models lost with them.
    return by_model.get(chosen.model._meta.label, 0)


def _needed(rows: PlugChatQuerySet, keys: list[Any]) -> dict[Any, set[str]]:
    """Which of them other models protect directly."""
    needed: dict[Any, set[str]] = defaultdict(set)
    for relation in rows.model._meta.get_fields(include_hidden=True):
        if getattr(relation, "on_delete", None) in (models.PROTECT, models.RESTRICT):
            name, model = relation.field.name, relation.related_model
            of_keys = model._base_manager.using(rows.db).filter(**{f"{name}__pk__in": keys})
            for key in of_keys.values_list(f"{name}__pk", flat=True).distinct():
                needed[key].add(model._meta.label)
    return needed


def old_events(before: datetime, *, include_pending: bool = False) -> DeliveryEventQuerySet:
    events = DeliveryEvent.objects.for_writing().filter(received_at__lt=before)
    # Not "IS NULL": for that SQLite takes the index of the due dates, of which nearly all are NULL, and sorts them all.
    return events if include_pending else events.exclude(dispatch_due_at__isnull=False)


def delete_in_batches(rows: PlugChatQuerySet, *, by: str, batch_size: int, dry_run: bool = False) -> Iterator[Deletion]:
    """Delete them along the index of a field."""
    for batch in rows.only("pk", by).in_batches(batch_size, by=by):
        # Under their conditions still: meanwhile an event may have been dispatched again.
        yield delete(rows, [row.pk for row in batch], at_once=batch_size, dry_run=dry_run)


def analyze() -> None:
    """Have SQLite count how many rows an account, a type or an outcome has; the other databases do so by themselves.

    Without, it expects as few rows for an account as for an id, and may read a million of one account for one message.
    """
    connection = connections[DeliveryEvent.objects.for_writing().db]
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA analysis_limit = 1000")
        for index in DeliveryEvent._meta.indexes:
            # Those of one column are of ids and phone numbers: few rows for each, as SQLite expects of any index.
            if len(index.fields) > 1:
                cursor.execute(f"ANALYZE {index.name}")
