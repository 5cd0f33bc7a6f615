"""Calls the whole WSGI stack in this process, as a server would."""

import gzip
import time
from io import BytesIO
from typing import Any

from benchmarks.variants import Variant


def environ(variant: Variant, body: str) -> dict[str, Any]:
    content = gzip.compress(body.encode()) if variant.compressed else body.encode()
    given = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": variant.path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_USER_AGENT": "benchmarks",
        "HTTP_ACCEPT": "*/*",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(content),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if variant.compressed:
        given["HTTP_CONTENT_ENCODING"] = "gzip"
    if variant.authorization:
        given["HTTP_AUTHORIZATION"] = variant.authorization
    return given


def call(application: Any, environ: dict[str, Any]) -> int:
    """Returns the status, when the server would be done with the request."""
    statuses: list[str] = []
    response = application(environ, lambda status, headers: statuses.append(status))
    b"".join(response)
    response.close()
    return int(statuses[0].split()[0])


def timed(application: Any, variant: Variant, bodies: list[str]) -> tuple[float, float]:
    """Seconds of processor time, and of the clock, that one of these requests takes."""
    environs = [environ(variant, body) for body in bodies]
    clock, processor = time.perf_counter(), time.process_time()
    statuses = [call(application, each) for each in environs]
    processor, clock = time.process_time() - processor, time.perf_counter() - clock
    if set(statuses) != {variant.status}:
        raise RuntimeError(f"{variant.name} answered {set(statuses)}.")
    return processor / len(bodies), clock / len(bodies)
