"""Requests per second over HTTP, on loopback, from the same server with the same load. Needs wrk."""

import random
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.databases import environment
from benchmarks.variants import NEW, Variant

WORKERS, CONNECTIONS = 2, 4
_SCRIPT = Path(__file__).with_name("load.lua")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _attempt in range(100):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("The server did not start.")


@contextmanager
def _server(environ: dict[str, str]) -> Iterator[str]:
    port = _free_port()
    application = "django.core.wsgi:get_wsgi_application()"
    options = ["--workers", str(WORKERS), "--bind", f"127.0.0.1:{port}", "--log-level", "error"]
    process = subprocess.Popen([sys.executable, "-m", "gunicorn", *options, application], env=environ)
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _load(site: str, variant: Variant, seconds: int) -> float:
    options = ["--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--timeout", "20s"]
    arguments = [secrets.token_hex(8).upper(), variant.body("UNIQUE")]
    if variant.authorization:
        arguments.append(variant.authorization)
    output = subprocess.run(
        ["wrk", *options, "--script", _SCRIPT, site + variant.path, "--", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    requests, microseconds, failed = map(int, output.rpartition("RESULT ")[2].split())
    if failed:
        raise RuntimeError(f"{variant.name}: {failed} of {requests} requests failed.")
    return requests / microseconds * 1_000_000


def measure(url: str, *, rounds: int, seconds: int) -> dict[str, list[float]]:
    result: dict[str, list[float]] = {variant.name: [] for variant in NEW}
    with ExitStack() as stack:
        sites = {
            False: stack.enter_context(_server(environment(url))),
            True: stack.enter_context(_server(environment(url, BENCHMARK_RECEIVER="1"))),
        }
        for variant in NEW:
            _load(sites[variant.receiver], variant, 1)  # what the first requests import and cache
        for _round in range(rounds):
            for variant in random.sample(NEW, len(NEW)):
                result[variant.name].append(_load(sites[variant.receiver], variant, seconds))
    return result
