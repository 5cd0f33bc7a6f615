"""Real servers over the test database, as processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db import connection


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_database_url() -> str:
    options = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{options['NAME']}"
    scheme = {"postgresql": "postgres", "mysql": "mysql"}[connection.vendor]
    return f"{scheme}://{quote(options['USER'])}@{options['HOST']}:{options['PORT']}/{options['NAME']}"


test_database_url.__test__ = False  # type: ignore[attr-defined]


def wait_for_port(port: int, child: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 60

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    while not listens():
        assert time.monotonic() < deadline, f"{child.args!r} does not listen."
        assert child.poll() is None, f"{child.args!r} ended."
        time.sleep(0.05)


@contextmanager
def process(*arguments: str, log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module as a process until the block ends. What it prints goes to the file ``log``."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=os.environ
            | {"DATABASE_URL": test_database_url(), "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONUNBUFFERED": "1"}
            | environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield child
        finally:
            child.terminate()
            child.wait(60)


@contextmanager
def running(*arguments: str, port: int, log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module as a server."""
    with process(*arguments, log=log, **environ) as child:
        wait_for_port(port, child)
        yield child


@contextmanager
def gunicorn(log: Path, *options: str, **environ: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    arguments = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--access-logfile", "-", *options]
    with running(*arguments, "django.core.wsgi:get_wsgi_application()", port=port, log=log, **environ) as child:
        yield f"http://127.0.0.1:{port}", child


@contextmanager
def runserver(log: Path, *options: str, **environ: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    arguments = ["django", "runserver", "--noreload", "--nothreading", f"127.0.0.1:{port}", *options]
    with running(*arguments, port=port, log=log, **environ) as child:
        yield f"http://127.0.0.1:{port}", child
