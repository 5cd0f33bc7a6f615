"""A folder that keeps callbacks while the database is away, each as a file that is whole before it is acknowledged."""

import errno
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from django.core.files import locks
from django.db import Error, OperationalError, connections
from django.utils import timezone
from django.utils.translation import gettext as _

from django_plugchat import statements, times
from django_plugchat.conf import app_settings

T = TypeVar("T")

logger = logging.getLogger(__name__)

MOST_FILES = 100_000
#: Seconds for which a process does not ask a database again that it could not reach.
PAUSE = 5.0
#: Seconds after which a failure is one that other requests should not wait for as well.
SLOW = 0.5
#: Counting a full folder takes up to a tenth of a second.
COUNTED_FOR = 1.0
LEAST_FREE = 10 * 1024 * 1024
_UNFINISHED_FOR = 3600
_ASIDE = "aside"


@dataclass(frozen=True)
class Receipt:
    """By which secret, when and how often a callback came."""

    account: str
    secret_id: str
    received_at: datetime = field(default_factory=timezone.now)
    last_received_at: datetime | None = None
    times: int = 1
    #: It came some time ago: no receiver runs while it is stored.
    is_late: bool = False


class Process:
    """What this process knows, all its threads together."""

    #: By the clock that never goes back; 0 for none.
    pause_ends_at = 0.0
    files, counted_at = 0, 0.0


process = Process()


def _folder() -> Path | None:
    return Path(app_settings.spool_dir) if app_settings.spool_dir else None


def _usable() -> Path | None:
    """The folder, but none inside a transaction: whoever began it decides what becomes of the callback."""
    is_inside = any(connection.in_atomic_block for connection in connections.all(initialized_only=True))
    return None if is_inside else _folder()


def asked(alias: str, operation: Callable[[], T]) -> T:
    """What the database says about a callback. Raises ``django.db.Error``, at once where it is known to be away."""
    # After a failure to reach it, one request of this process tries every 5 seconds, and the others don't.
    began = time.monotonic()
    if process.pause_ends_at and _usable():
        if began < process.pause_ends_at:
            raise OperationalError("The database could not be reached a moment ago.")
        process.pause_ends_at = began + PAUSE  # for the others
    try:
        answer = statements.trying_again(alias, operation)
    except Error:
        if connections[alias].connection is None or time.monotonic() - began > SLOW:
            process.pause_ends_at = time.monotonic() + PAUSE
        raise
    end_pause()
    return answer


def end_pause() -> None:
    process.pause_ends_at = 0.0


def keep(body: bytes, receipt: Receipt) -> bool:
    """Keep a callback that the database could not take. False where that is not possible: the log says why."""
    folder = _usable()
    if folder is None:
        return False
    header = json.dumps({"account": receipt.account, "secret_id": receipt.secret_id}).encode()
    name = f"{receipt.received_at.timestamp() * 1_000_000:016.0f}-{uuid.uuid4().hex}"
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(folder.parent)
        ensure_own()
        _ensure_room()
        _write(folder, name, header + b"\n" + body)
    except OSError as error:
        logger.error("The spool could not keep a callback for account %r: %s", receipt.account, error.strerror)
        # Then asking the database is the only chance of the next ones.
        end_pause()
        return False
    return True


def _ensure_room() -> None:
    if time.monotonic() > process.counted_at + COUNTED_FOR:
        process.files, process.counted_at = len(paths()), time.monotonic()
    if process.files >= MOST_FILES:
        raise OSError(errno.ENOSPC, f"{MOST_FILES} callbacks wait there already")
    process.files += 1


def _write(folder: Path, name: str, content: bytes) -> None:
    unfinished = folder / f".{name}"
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(folder / name)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
    _sync(folder)


def _sync(folder: Path) -> None:
    """Else a power cut may forget what a folder holds."""
    with _opened(folder) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# Looking


def paths(*, aside: bool = False) -> list[Path]:
    """The files that wait, or those that were set aside, oldest first. Raises OSError where this user may not look."""
    folder = _folder()
    if folder is None:
        return []
    folder = folder / _ASIDE if aside else folder
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_file())
    except FileNotFoundError:
        return []
    return [folder / name for name in names]


def read(path: Path) -> tuple[Receipt, bytes]:
    """How a callback came, and its body. Raises TypeError or ValueError for a file that is not ours."""
    header, _newline, body = path.read_bytes().partition(b"\n")
    return Receipt(**json.loads(header), received_at=received_at(path), is_late=True), body


def body_of(path: Path) -> bytes:
    """The same body, of whatever file."""
    return path.read_bytes().partition(b"\n")[2]


def received_at(path: Path) -> datetime:
    """By its name; a file that is not ours came when it was written."""
    digits = path.name.partition("-")[0]
    is_ours = len(digits) == 16 and digits.isdecimal()
    return times.from_timestamp(int(digits) / 1_000_000 if is_ours else path.stat().st_mtime)


class State(NamedTuple):
    """How this host's spool is doing, as far as this user can tell."""

    waiting: int = 0
    since: datetime | None = None
    set_aside: int = 0
    #: Why a callback could not be kept or taken over, for people.
    problem: str = ""


def state() -> State:
    folder = _folder()
    if folder is None:
        return State()
    there = next(place for place in (folder, *folder.parents) if os.access(place, os.F_OK))
    try:
        found, set_aside, free = paths(), len(paths(aside=True)), shutil.disk_usage(there).free
    except OSError:
        return State(problem=_("This user can't look into the spool %(folder)s.") % {"folder": folder})
    problem = ""
    if not os.access(there, os.W_OK | os.X_OK):
        problem = _("The spool %(folder)s can't be written.") % {"folder": folder}
    elif len(found) >= MOST_FILES or free < LEAST_FREE:
        problem = _("The spool %(folder)s is full.") % {"folder": folder}
    return State(len(found), received_at(found[0]) if found else None, set_aside, problem)


# Taking over


def ensure_own() -> None:
    """Raises PermissionError where another user's web server keeps callbacks: it could not take ours over."""
    folder = _folder()
    with suppress(FileNotFoundError):
        # Windows has no users by number, and no folder that can be synced.
        if folder and folder.stat().st_uid != getattr(os, "geteuid", int)():
            raise PermissionError(errno.EPERM, "it belongs to another user, that of the web server")


@contextmanager
def alone(*, wait: bool = False) -> Iterator[bool]:
    """Let nobody else take files over or away meanwhile; False where somebody is at it. Whoever adds some goes on."""
    folder = _folder()
    if folder is None or not folder.exists():
        yield True
        return
    # The folder itself is locked: a file made for that by root could not be locked by others.
    with _opened(folder) as descriptor:
        yield locks.lock(descriptor, locks.LOCK_EX if wait else locks.LOCK_EX | locks.LOCK_NB)


def delete_unfinished() -> None:
    """What was killed while it was written, and so never acknowledged."""
    folder = _folder()
    for path in folder.glob(".*") if folder else ():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _UNFINISHED_FOR:
                path.unlink()


def put_aside(path: Path) -> None:
    """So that it does not stand before all that came later."""
    aside = path.parent / _ASIDE
    aside.mkdir(mode=0o700, exist_ok=True)
    path.rename(aside / path.name)
