"""What is deleted, in small batches, each a short transaction of its own: callbacks are stored meanwhile."""

from collections import defaultdict
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.db import IntegrityError, connections, transaction
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
    deleted, needed = 0, defaultdict[Any, set[str]](set)
    parts = [keys[start : start + at_once] for start in range(0, len(keys), at_once)]
    for part in parts:
        try:
            deleted += statements.trying_again(rows.db, partial(_delete, rows.filter(pk__in=part), dry_run))
        except IntegrityError as error:  # those of Django are kinds of it
            by: Any = getattr(error, "protected_objects", None) or getattr(error, "restricted_objects", ())
            if len(part) == 1:
                needed[part[0]] |= {row._meta.label for row in by} or {_("another table")}
                continue
            for row in by:
                for field in row._meta.concrete_fields:
                    if field.related_model is rows.model and getattr(row, field.attname) in part:
                        needed[getattr(row, field.attname)].add(row._meta.label)
            # Then without those; or one by one, where it is not known which are needed.
            others = [key for key in part if key not in needed]
            parts += [others] if len(others) < len(part) else [[key] for key in part]
    return Deletion(deleted, needed)


def _delete(chosen: PlugChatQuerySet, dry_run: bool) -> int:
    with transaction.atomic(using=chosen.db):
        if dry_run:
            Collector(using=chosen.db).collect(chosen)
            return chosen.count()
        # In the order in which callbacks lock them, who would else wait for us while we wait for them.
        list(chosen.order_by("fingerprint").select_for_update().values_list("pk", flat=True))
        _total, by_model = chosen.delete()
    # Not what a project's own models lost with them.
    return by_model.get(chosen.model._meta.label, 0)


def old_events(before: datetime, *, include_pending: bool = False) -> DeliveryEventQuerySet:
    events = DeliveryEvent.objects.for_writing().filter(received_at__lt=before)
    # Not "IS NULL": for that SQLite takes the index of the due dates, of which nearly all are NULL, and sorts them all.
    return events if include_pending else events.exclude(dispatch_due_at__isnull=False)


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
