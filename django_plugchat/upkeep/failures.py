"""Why stored messages failed, read again by a version that knows more of the provider's texts."""

from collections import defaultdict
from typing import Any

from django_plugchat import statements
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import kind_of

_BATCH = 1000


def classify_again() -> int:
    """Fill ``DeliveryEvent.failure`` again, as in a data migration; returns how many rows changed. May be repeated."""
    events, changed = DeliveryEvent.objects.for_writing(), 0
    failed = events.exclude(failure="").only("error", "error_code", "failure")
    for batch in failed.in_batches(_BATCH):
        by_kind: dict[str, list[Any]] = defaultdict(list)
        for event in batch:
            if (kind := kind_of(event.error, event.error_code)) != event.failure:
                by_kind[kind].append(event.pk)
        for kind, pks in by_kind.items():
            changed += statements.change(events.filter(pk__in=pks), failure=kind)
    return changed
