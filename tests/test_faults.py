"""Whatever dies in between: each post answered 200 is stored once, and every stored event reaches the receiver."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from .faults import Client, MariaDB, PostgreSQL, Redis, directory_of_mariadb, stopped
from .poolers import haproxy, pgbouncer
from .projects import Project, wait_until

pytestmark = pytest.mark.services

LEASE = "2"
#: gunicorn kills a sync worker that takes too long, and no thread.
THREADS = ["--worker-class", "gthread", "--threads", "4"]


def start(directory: Path, database_url: str, queue: str = "inline", **environ: str) -> Project:
    return Project(directory, database_url, queue, DISPATCH_LEASE=LEASE, **environ)


def check(project: Project, client: Client, covered: str) -> None:
    """After the fault: the promise, in figures."""
    project.sweep_until_all_is_told()
    events = project.events()
    stored = [event["zaap_id"] for event in events]
    told = set(project.heard())
    lost = (client.acknowledged - set(stored)) | (set(stored) - told)
    figures = {
        "posts": len(client.answers),
        "acknowledged": len(client.acknowledged),
        "stored": len(stored),
        "dispatched": len(told & set(stored)),
        "lost": len(lost),
    }
    print(f"\n{covered}: {figures}; answers {dict(client.tally())}")  # noqa: T201
    assert not lost
    assert len(stored) == len(set(stored))
    assert set(client.tally()) <= {200, "kept", 503, "no answer"}
    assert client.acknowledged
    # What died between the commit and the answer is stored too: whole.
    assert set(stored) <= set(client.answers)
    assert all(event["payload"]["zaapId"] == event["zaap_id"] for event in events)


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    cluster = PostgreSQL()
    yield cluster
    cluster.remove()


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'faults.sqlite3'}"


def workers_of(master: subprocess.Popen[bytes]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()]


@pytest.mark.parametrize("database", ["postgresql", "sqlite_url"])
def test_web_workers_are_killed(tmp_path, request, database):
    """Most of the time in the middle of a receiver: between the INSERT that is the claim and the outcome."""
    fixture = request.getfixturevalue(database)
    project = start(tmp_path, getattr(fixture, "url", fixture), RECEIVER="takes long")
    with project.web() as (base, master), Client(base) as client:
        for _ in range(4):
            client.wait_for(200, 10)
            for pid in workers_of(master):
                os.kill(pid, signal.SIGKILL)
        client.wait_for(200, 10)
    assert project.states()["running"]
    check(project, client, f"web workers killed four times ({database})")


def test_postgresql_is_stopped_and_started(tmp_path, postgresql):
    project = start(tmp_path, postgresql.url)
    with project.web() as (base, _), Client(base) as client:
        for _ in range(2):
            client.wait_for(200, 20)
            postgresql.stop()
            client.wait_for(503)
            postgresql.start()
        client.wait_for(200, 20)
    check(project, client, "PostgreSQL stopped in immediate mode, twice")


@pytest.mark.parametrize("environ", [{}, {"POOL": "1"}], ids=["a connection", "a pool"])
def test_the_first_request_after_a_restart(tmp_path, postgresql, environ):
    project = start(tmp_path, postgresql.url, **environ)
    with project.web(workers=1) as (base, _), requests.Session() as session:
        client = Client(base)
        assert client.post(session) == 200
        for _ in range(2):
            postgresql.stop()
            postgresql.start()
            assert client.post(session) == 200
    check(project, client, f"the first request after a restart ({environ or 'no pool'})")


@contextmanager
def statements(cluster: PostgreSQL) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(cluster.url, autocommit=True) as connection:
        yield connection


def test_postgresql_is_read_only(tmp_path, postgresql):
    project = start(tmp_path, postgresql.url)
    with project.web() as (base, _), Client(base) as client, statements(postgresql) as connection:
        client.wait_for(200, 20)
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
        client.wait_for(503)
        connection.execute("SET transaction_read_only = off")
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")
        client.wait_for(200, 20)
    check(project, client, "PostgreSQL made read-only")


def test_a_lock_makes_postgresql_hang(tmp_path, postgresql):
    project = start(tmp_path, postgresql.url)
    with project.web() as (base, _), Client(base) as client, statements(postgresql) as connection:
        client.wait_for(200, 20)
        with connection.transaction():
            connection.execute("LOCK TABLE django_plugchat_deliveryevent IN ACCESS EXCLUSIVE MODE")
            client.wait_for(503)
        client.wait_for(200, 20)
    check(project, client, "a lock on the table of events")


def freeze(directory: Path, url: str, server: PostgreSQL | MariaDB, covered: str, **environ: str) -> None:
    """The driver would wait for ever: something gives up."""
    project = start(directory, url, SPOOL_DIR=str(directory / "spool"), **environ)
    with project.web(*THREADS) as (base, _), Client(base) as client:
        client.wait_for(200, 20)
        with server.frozen():
            client.wait_for("kept", 100)
        client.wait_for(200, 20)
    assert set(client.tally()) == {200, "kept"}
    check(project, client, covered)


def test_a_frozen_postgresql_behind_pgbouncer(tmp_path, postgresql):
    with pgbouncer("127.0.0.1", postgresql.port, "postgres", query_timeout=3, query_wait_timeout=3) as port:
        url = f"postgres://postgres@127.0.0.1:{port}/postgres"
        freeze(tmp_path, url, postgresql, "PostgreSQL frozen behind PgBouncer", POOLED="1")


def test_a_frozen_postgresql_behind_haproxy(tmp_path, postgresql):
    with haproxy(tmp_path, "pgsql-check user postgres", postgresql.port) as port:
        url = f"postgres://postgres@127.0.0.1:{port}/postgres"
        freeze(tmp_path, url, postgresql, "PostgreSQL frozen behind HAProxy")


@pytest.fixture
def mariadb() -> Iterator[MariaDB]:
    with directory_of_mariadb() as directory:
        server = MariaDB(directory / "data")
        server.fill()
        server.start()
        yield server
        server.kill()


def test_a_frozen_mariadb_and_the_drivers_limit(tmp_path, mariadb):
    freeze(tmp_path, f"{mariadb.url}?read_timeout=3", mariadb, "MariaDB frozen, read_timeout")


def test_a_frozen_mariadb_behind_haproxy(tmp_path, mariadb):
    with haproxy(tmp_path, "mysql-check user plugchat", mariadb.port) as port:
        freeze(tmp_path, f"mysql://plugchat@127.0.0.1:{port}/plugchat", mariadb, "MariaDB frozen behind HAProxy")


def test_workers_and_their_database_are_killed_with_a_spool(tmp_path, postgresql):
    """While callbacks are kept, and while they are taken over: nothing is lost, acknowledged or not."""
    project = start(tmp_path, postgresql.url, SPOOL_DIR=str(tmp_path / "spool"))
    with project.web() as (base, master), Client(base) as client:
        client.wait_for(200, 20)
        postgresql.stop()
        for _ in range(3):
            client.wait_for("kept", 20)
            for pid in workers_of(master):
                os.kill(pid, signal.SIGKILL)
        client.wait_for("kept", 20)
        postgresql.start()
        client.wait_for(200, 20)
    assert 503 not in client.tally()
    for _ in range(3):
        drain = subprocess.Popen(
            [sys.executable, "-m", "django", "plugchat_redispatch"], env=os.environ | project.environ
        )
        few = len(waiting(project)) - 1
        wait_until(lambda few=few: len(waiting(project)) <= few)
        drain.kill()
        drain.wait()
        assert waiting(project)
    check(project, client, "workers, the database and drains killed")
    assert waiting(project) == []


def waiting(project: Project) -> list[str]:
    return [path.name for path in Path(project.environ["SPOOL_DIR"]).iterdir() if path.name[0] != "."]


def test_the_queue_is_gone_and_its_worker_killed(tmp_path, postgresql):
    redis = Redis()
    project = start(
        tmp_path, postgresql.url, queue="rq", REDIS_URL=redis.url, RECEIVER="kills its process the first time"
    )
    try:
        with ExitStack() as stack:
            base, _ = stack.enter_context(project.web())
            with Client(base) as client:
                client.wait_for(200, 20)
                redis.stop()
                client.wait_for(200, 20)
                redis.start()
                client.wait_for(200, 20)
            stack.enter_context(project.worker())
            with Client(base, connections=1, fatal=True) as fatal:
                fatal.wait_for(200, 2)
            client.answers |= fatal.answers
            check(project, client, "Redis gone for a while, work horses killed in the middle of a receiver")
    finally:
        redis.stop()


def test_a_frozen_redis_behind_celery(tmp_path, postgresql):
    """Handing an event over gives up as well: it is stored, and the sweep finds it."""
    redis = Redis()
    project = start(tmp_path, postgresql.url, queue="celery", RABBITMQ_URL=redis.url)
    try:
        with project.web(*THREADS) as (base, _), Client(base) as client:
            client.wait_for(200, 20)
            with stopped(redis.server.pid):
                client.wait_for(200, 8)
            client.wait_for(200, 20)
        assert set(client.tally()) == {200}
        with project.worker():
            check(project, client, "Redis frozen, Celery")
    finally:
        redis.stop()


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    disk = directory / "disk"
    disk.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run([*sudo, "umount", disk], check=True)


def test_the_disk_of_sqlite_is_full(tmp_path):
    # Room for a write-ahead log that is not checkpointed yet: 4 MB by default.
    with small_disk(tmp_path, 16) as disk:
        project = start(tmp_path, f"sqlite:///{disk / 'faults.sqlite3'}")
        with project.web() as (base, _), Client(base) as client:
            client.wait_for(200, 20)
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                file.write(b"x" * 20_000_000)  # writes what has room
                file.write(b"x")
            client.wait_for(503)
            filler.unlink()
            client.wait_for(200, 20)
        check(project, client, "SQLite's disk full")


def test_sqlite_is_locked_by_another_writer(tmp_path, sqlite_url):
    project = start(tmp_path, sqlite_url)
    with project.web() as (base, _), Client(base) as client:
        client.wait_for(200, 20)
        writer = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None, timeout=10)
        writer.execute("BEGIN IMMEDIATE")
        client.wait_for(503)
        writer.execute("ROLLBACK")
        writer.close()
        client.wait_for(200, 20)
    check(project, client, "SQLite locked by another writer")
