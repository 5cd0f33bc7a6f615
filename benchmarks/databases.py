"""Databases of the benchmarks' own, made for a run and dropped after it."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

SERVER = os.environ.get("POSTGRESQL_URL", "postgres://postgres@127.0.0.1:5432/postgres")
MARIADB_SERVER = os.environ.get("MARIADB_URL", "mysql://root@127.0.0.1:3306/test")


class Chosen:
    """A router that lets one process measure two databases in turns."""

    alias = "default"

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return Chosen.alias

    db_for_write = db_for_read


@contextmanager
def temporary_sqlite() -> Iterator[str]:
    with TemporaryDirectory(prefix="plugchat-benchmark-") as folder:
        yield f"sqlite:///{Path(folder) / 'db.sqlite3'}"


@contextmanager
def temporary_postgresql() -> Iterator[str]:
    import psycopg

    name = f"plugchat_benchmark_{secrets.token_hex(4)}"
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(SERVER)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def temporary_mariadb() -> Iterator[str]:
    import MySQLdb

    parts = urlsplit(MARIADB_SERVER)
    name = f"plugchat_benchmark_{secrets.token_hex(4)}"
    server = MySQLdb.connect(
        host=parts.hostname, port=parts.port or 3306, user=parts.username, password=parts.password or ""
    )
    with closing(server):
        server.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield parts._replace(path=f"/{name}").geturl()
        finally:
            server.cursor().execute(f"DROP DATABASE {name}")


def environment(url: str, **others: str) -> dict[str, str]:
    return os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"} | others


def run(environ: dict[str, str], *arguments: str) -> str:
    """The output of a Python process."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], env=environ, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def migrate(environ: dict[str, str], alias: str = "default") -> None:
    run(environ, "django", "migrate", "--run-syncdb", "--skip-checks", "--verbosity", "0", "--database", alias)
