"""The folder that keeps callbacks while the database is away."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from django_plugchat import spool

from .databases import raising

CAME = datetime(2026, 7, 10, 12, 0, 0, 123456, tzinfo=UTC)
BODY = b'{"type": "DeliveryCallback",\n"phone": "5544999999999"}'


@pytest.fixture(autouse=True)
def folder(plugchat, tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "process", spool.Process())
    plugchat(SPOOL_DIR=str(tmp_path / "outer" / "spool"))
    return tmp_path / "outer" / "spool"


def keep(body: bytes = BODY, received_at: datetime = CAME) -> bool:
    return spool.keep(body, spool.Receipt("default", "01234567", received_at))


def test_a_callback_is_kept_as_it_came(folder):
    assert keep()
    (path,) = spool.paths()
    assert spool.read(path) == (spool.Receipt("default", "01234567", CAME, is_late=True), BODY)
    assert spool.body_of(path) == BODY
    assert spool.received_at(path) == CAME
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_where_datetimes_are_naive(settings):
    settings.USE_TZ = False
    now = timezone.now()
    assert keep(received_at=now)
    assert spool.received_at(spool.paths()[0]) == now


def test_the_oldest_comes_first():
    for second in (3, 1, 2):
        assert keep(received_at=CAME.replace(second=second))
    assert [spool.received_at(path).second for path in spool.paths()] == [1, 2, 3]
    assert spool.state() == spool.State(waiting=3, since=CAME.replace(second=1))


def test_no_folder_is_configured(plugchat):
    plugchat(SPOOL_DIR=None)
    assert not keep()
    assert (spool.paths(), spool.state()) == ([], spool.State())


@pytest.mark.django_db
def test_inside_a_transaction_nothing_is_kept(folder):
    connection.ensure_connection()
    assert connection.in_atomic_block
    assert not keep()
    assert not folder.exists()


def test_a_full_folder(monkeypatch, caplog):
    monkeypatch.setattr(spool, "MOST_FILES", 2)
    assert [keep(), keep(), keep()] == [True, True, False]
    assert "for account 'default'" in caplog.text
    assert "5544999999999" not in caplog.text
    assert "is full" in spool.state().problem
    # Counted again after a second.
    spool.paths()[0].unlink()
    monkeypatch.setattr(spool, "COUNTED_FOR", -1)
    assert keep()


def test_a_full_disk(folder, monkeypatch):
    def no_room(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    folder.mkdir(parents=True)
    assert not keep()
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(spool, "LEAST_FREE", 10**18)
    assert "is full" in spool.state().problem


def test_the_folder_of_another_user(folder, monkeypatch, caplog):
    folder.mkdir(parents=True)
    spool.ensure_own()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert not keep()
    assert "another user" in caplog.text
    with pytest.raises(PermissionError):
        spool.ensure_own()


def test_a_folder_that_cannot_be_read_or_written(folder, monkeypatch):
    folder.parent.write_text("a file")
    assert not keep()
    assert "can't look into" in spool.state().problem
    assert spool.state()[:3] == (0, None, 0)
    folder.parent.unlink()
    assert spool.state().problem == ""
    folder.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK)
    assert "can't be written" in spool.state().problem


@pytest.mark.parametrize("content", ["anything\n", "{}\nbody", "[]\nbody", ""])
def test_what_is_not_ours(folder, content):
    folder.mkdir(parents=True)
    for name in ("note", f"{1_700_000_000_000_000}-0", ".unfinished"):
        (folder / name).write_text(content)
    dated, note = spool.paths()
    assert spool.received_at(dated) < spool.received_at(note)
    with pytest.raises((TypeError, ValueError)):
        spool.read(note)


def test_setting_aside(folder):
    keep()
    spool.put_aside(spool.paths()[0])
    assert spool.state() == spool.State(set_aside=1)
    assert spool.received_at(spool.paths(aside=True)[0]) == CAME


def test_one_at_a_time(folder):
    with spool.alone() as is_alone:  # there is no folder yet
        assert is_alone
    keep()
    with spool.alone() as is_alone, spool.alone() as is_second_alone:
        assert (is_alone, is_second_alone) == (True, False)
        assert keep()
    with spool.alone(wait=True) as is_alone:
        assert is_alone


# A database that is away


def ask(operation: Callable[[], object] = bool) -> str:
    """How the database answered; "not asked" where it was not asked."""
    answer = "not asked"

    def asked() -> None:
        nonlocal answer
        answer = "failed"
        operation()
        answer = "answered"

    with suppress(Exception):
        spool.asked("default", asked)
    return answer


def fail_to_connect() -> str:
    def fail() -> None:
        connection.close()
        raise OperationalError

    return ask(fail)


@pytest.mark.django_db(transaction=True)
def test_a_process_that_could_not_connect_asks_again_after_a_pause(monkeypatch):
    monkeypatch.setattr(spool, "PAUSE", 0.2)
    assert [fail_to_connect(), ask(), ask()] == ["failed", "not asked", "not asked"]
    time.sleep(0.2)
    assert [fail_to_connect(), ask()] == ["failed", "not asked"]
    time.sleep(0.2)
    assert [ask(), ask()] == ["answered", "answered"]


@pytest.mark.django_db(transaction=True)
def test_while_one_asks_again_the_others_do_not(monkeypatch):
    monkeypatch.setattr(spool, "PAUSE", 0.2)
    fail_to_connect()
    time.sleep(0.2)
    answers = []

    def ask_beside() -> None:
        other = threading.Thread(target=lambda: answers.append(ask()))
        other.start()
        other.join()

    spool.asked("default", ask_beside)
    assert answers == ["not asked"]
    assert ask() == "answered"


@pytest.mark.django_db(transaction=True)
def test_a_failure_that_took_long_begins_a_pause_as_well(monkeypatch):
    connection.ensure_connection()
    assert [ask(raising(OperationalError())), ask()] == ["failed", "answered"]
    assert [ask(raising(ValueError())), ask()] == ["failed", "answered"]
    monkeypatch.setattr(spool, "SLOW", -1)
    assert [ask(raising(OperationalError())), ask()] == ["failed", "not asked"]


@pytest.mark.django_db(transaction=True)
def test_without_a_spool_or_inside_a_transaction_every_request_asks(plugchat):
    fail_to_connect()
    with transaction.atomic():
        assert ask() == "answered"
    fail_to_connect()
    plugchat(SPOOL_DIR=None)
    assert [fail_to_connect(), ask()] == ["failed", "answered"]


@pytest.mark.django_db(transaction=True)
def test_a_spool_that_fails_ends_the_pause(folder):
    folder.parent.write_text("a file")
    assert [fail_to_connect(), keep(), ask()] == ["failed", False, "answered"]
