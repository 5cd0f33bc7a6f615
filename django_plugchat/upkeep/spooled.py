"""What was kept on this host while the database was away: taken over, or looked through."""

import logging
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException

from django_plugchat import recording, spool
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent

logger = logging.getLogger(__name__)


def drain() -> int:
    """Store what waits, oldest first; returns how many callbacks. No receiver runs: the events are due at once.

    Each file is recorded first and then deleted: whatever dies in between, it is recorded again, and counted on its
    event. Where another process is at it, there is nothing to do. Raises PermissionError where the folder is another
    user's, and ``django.db.Error`` where the database is away: all that is left waits for another time.
    """
    spool.ensure_own()
    with spool.alone() as is_alone:
        if not is_alone:
            return 0
        spool.delete_unfinished()
        return sum([_take_over(path) for path in spool.paths()])


def _take_over(path: Path) -> bool:
    """Store a callback; set it aside where it fails twice. Raises ``django.db.Error`` where the database is away."""
    for _attempt in range(2):
        try:
            receipt, body = spool.read(path)
            with suppress(APIException):  # a refusal, which is kept
                recording.take(body, receipt)
        except Exception as error:
            _ensure_writable()
            failure = type(error).__name__  # its text may quote the callback
        else:
            path.unlink()
            return True
    logger.error("The file %s of the spool could not be taken over: %s", path.name, failure)
    spool.put_aside(path)
    return False


def _ensure_writable() -> None:
    """Raise what a database raises that stores nothing: one that is away, may only be read, or is full."""
    events = DeliveryEvent.objects.for_writing()
    with transaction.atomic(using=events.db):
        events.bulk_create([DeliveryEvent(fingerprint=UUID(int=0))])
        transaction.set_rollback(True, using=events.db)
    spool.end_pause()


def prune(before: datetime, *, include_waiting: bool, dry_run: bool) -> int:
    """Delete the files of callbacks that came before; returns how many. Raises OSError where this user may not."""
    with spool.alone(wait=True):
        paths = [*spool.paths(aside=True), *(spool.paths() if include_waiting else ())]
        old = [path for path in paths if spool.received_at(path) < before]
        for path in () if dry_run else old:
            path.unlink()
    return len(old)


def reach() -> str:
    """Where this looks and where it does not, for people."""
    text = _("Of the callbacks that wait in a spool, only those of this host are in reach: %(folder)s.")
    return text % {"folder": app_settings.spool_dir}
