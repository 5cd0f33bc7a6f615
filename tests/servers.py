"""Real servers over the test database, as processes of their own."""

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

_WSGI, _ASGI = "tests.stacks.wsgi:application", "tests.stacks.asgi:application"
_GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "--access-logfile", "-"]
_GUNICORN += [_WSGI, "--config"]
_HYPERCORN = ["hypercorn", "--bind", "127.0.0.1:{port}"]
_GRANIAN = ["granian", "--host", "127.0.0.1", "--port", "{port}", "--interface"]
_UWSGI = ["-c", "import pyuwsgi; pyuwsgi.run()", "--http-socket", "127.0.0.1:{port}", "--wsgi", _WSGI]

#: Servers as the page "Servers" has them, as modules with their arguments. None of them shows the secret.
SERVERS = {
    "gunicorn sync": [*_GUNICORN, "tests/gunicorn_conf.py", "--worker-class", "sync"],
    "gunicorn gthread": [*_GUNICORN, "tests/gunicorn_conf.py", "--worker-class", "gthread", "--threads", "4"],
    "gunicorn gevent": [*_GUNICORN, "tests/stacks/gunicorn_gevent.py", "--worker-class", "gevent"],
    "waitress": ["waitress", "--listen", "127.0.0.1:{port}", _WSGI],
    "uwsgi": [*_UWSGI, "--enable-threads", "--die-on-term", "--disable-logging", "--add-header", "Connection: close"],
    "granian, WSGI": [*_GRANIAN, "wsgi", _WSGI],
    "hypercorn, WSGI": [*_HYPERCORN, f"wsgi:{_WSGI}"],
    "uvicorn, a2wsgi": ["uvicorn", "--port", "{port}", "--no-access-log", "tests.stacks.wsgi_as_asgi:application"],
    "uvicorn": ["uvicorn", "--port", "{port}", "--no-access-log", _ASGI],
    "daphne": ["daphne", "--bind", "127.0.0.1", "--port", "{port}", "--verbosity", "0", _ASGI],
    "hypercorn": [*_HYPERCORN, _ASGI],
    "granian": [*_GRANIAN, "asgi", _ASGI],
}


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
    """Run a Python module, or code after ``-c``, as a process until the block ends. ``log`` gets what it prints."""
    module = [] if arguments[0] == "-c" else ["-m"]
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, *module, *arguments],
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
def serving(arguments: list[str], log: Path, **environ: str) -> Iterator[str]:
    """Run one of SERVERS, or the like; yields where it listens."""
    port = free_port()
    with running(*(argument.replace("{port}", str(port)) for argument in arguments), port=port, log=log, **environ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def gunicorn(log: Path, *options: str, **environ: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    arguments = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--access-logfile", "-", *options]
    with running(*arguments, "django.core.wsgi:get_wsgi_application()", port=port, log=log, **environ) as child:
        yield f"http://127.0.0.1:{port}", child


def failing(environ: Any, start_response: Any) -> Any:
    """An application that fails before Django could take a request."""
    raise ValueError(environ["PATH_INFO"])


@contextmanager
def runserver(log: Path, *options: str, **environ: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    arguments = ["django", "runserver", "--noreload", "--nothreading", f"127.0.0.1:{port}", *options]
    with running(*arguments, port=port, log=log, **environ) as child:
        yield f"http://127.0.0.1:{port}", child
