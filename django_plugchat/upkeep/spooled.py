"""What was kept on this host while the database was away: taken over, or looked through."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.db import DataError, Error, IntegrityError
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException

from django_plugchat import recording, spool
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent

logger = logging.getLogger(__name__)


@dataclass
class Drained:
    """What became of the callbacks that waited on this host."""

    taken: int = 0
    set_aside: int = 0


def drain() -> Drained:
    """Store what waits, oldest first. No receiver runs: the events are due at once.

    Each file is recorded first and then deleted: whatever dies in between, it is recorded again, and counted on its
    event. Where another process is at it, there is nothing to do. Raises ``spool.NotOwner``, and ``django.db.Error``
    where the database is away: all that is left waits for another time.
    """
    spool.ensure_own()
    drained = Drained()
    with spool.alone() as is_alone:
        if is_alone:
            spool.delete_unfinished()
            _drain(spool.paths(), drained)
    return drained


def _drain(paths: list[Path], drained: Drained) -> None:
    failed: list[tuple[Path, Error]] = []
    for path in paths:
        try:
            _take(path, drained)
        except Error as error:
            _ensure_writable()
            failed.append((path, error))
    if failed and not drained.taken:
        # It may be the database all the same: one whose disk is full.
        raise failed[-1][1]
    for path, _error in failed:
        try:
            _take(path, drained)
        except Error as error:
            _ensure_writable()
            _put_aside(path, type(error).__name__, drained)


def _take(path: Path, drained: Drained) -> None:
    try:
        kept = spool.read(path)
        if not kept.account:
            _put_aside(path, "it is not one of ours", drained)
            return
        receipt = recording.Receipt(kept.account, kept.secret_id, received_at=kept.received_at, is_late=True)
        with suppress(APIException):  # a refusal, which is kept
            recording.take(kept.body, receipt)
    except Exception as error:
        if isinstance(error, Error) and not isinstance(error, DataError | IntegrityError):
            raise
        # The class alone: its text may quote the callback.
        _put_aside(path, type(error).__name__, drained)
    else:
        spool.delete(path)
        drained.taken += 1


def _put_aside(path: Path, why: str, drained: Drained) -> None:
    logger.error("The file %s of the spool could not be taken over: %s", path.name, why)
    spool.put_aside(path)
    drained.set_aside += 1


def _ensure_writable() -> None:
    """Raise what a database raises that can't be reached or may only be read."""
    DeliveryEvent.objects.for_writing().filter(fingerprint=UUID(int=0)).update(times_received=1)
    spool.end_pause()


# Looking through it


def walk() -> Iterator[spool.Kept]:
    """All that is kept on this host. Raises OSError where this user may not look."""
    for path in [*spool.paths(), *spool.paths(aside=True)]:
        with suppress(FileNotFoundError):
            yield spool.read(path)


def old(before: datetime, *, include_waiting: bool) -> list[Path]:
    """The files of callbacks that came before. Raises OSError where this user may not look."""
    paths = [*spool.paths(aside=True), *(spool.paths() if include_waiting else ())]
    return [path for path in paths if spool.received_at(path) < before]


def reach() -> str:
    """Where this looks and where it does not, for people; "" without a spool."""
    if not app_settings.spool_dir:
        return ""
    return _("Of the callbacks that wait in a spool, only those of this host are in reach: %(folder)s.") % {
        "folder": app_settings.spool_dir
    }
