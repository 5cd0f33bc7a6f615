"""Through the servers that people use: chunked bodies, large ones, and what their access logs show."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from django_plugchat.models import DeliveryEvent, RejectedCallback

from .conftest import EXAMPLE, SECRET, URL
from .servers import gunicorn, runserver

pytestmark = pytest.mark.django_db(transaction=True)

JSON = {"Content-Type": "application/json"}


def in_pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


def resident_megabytes(pid: int) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def status_of_large_body(base: str, headers: dict[str, str], size: int) -> int:
    """0 where the server closed the connection on what it did not want to read, before its answer could be read."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)
    connection.putrequest("POST", URL)
    for name, value in (JSON | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    piece = b"[" * 65536
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
    status = 0
    with suppress(OSError):
        connection.send(chunk * (size // len(piece)))
    with suppress(OSError):
        status = connection.getresponse().status
    connection.close()
    return status


def test_gunicorn(tmp_path):
    log = tmp_path / "log"
    with gunicorn(log, "--workers", "1", "--config", "tests/gunicorn_conf.py") as (base, process):
        body = json.dumps(EXAMPLE).encode()
        assert requests.post(base + URL, in_pieces(body), headers=JSON).json() == {"status": "recorded"}
        assert requests.post(base + URL, body, headers=JSON).json() == {"status": "duplicate"}
        assert requests.post(base + URL, b"[" * 60_000, headers=JSON).status_code == 400
        assert requests.post(f"{base}/plugchat/callback/some-wrong-secret/", body, headers=JSON).status_code == 404
        (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        before = resident_megabytes(int(worker))
        assert status_of_large_body(base, {"Transfer-Encoding": "chunked"}, 50_000_000) in {413, 0}
        assert resident_megabytes(int(worker)) - before < 10
        assert requests.post(base + URL, body, headers=JSON).json() == {"status": "duplicate"}
    assert DeliveryEvent.objects.get().times_received == 3
    assert RejectedCallback.objects.get().body_text == "[" * 60_000
    shown = log.read_text()
    assert shown.count("POST /plugchat/callback/[redacted]/ HTTP/1.1") >= 5
    assert SECRET not in shown
    assert "some-wrong-secret" not in shown


@pytest.mark.parametrize("worker", ["sync", "gthread"])
@pytest.mark.parametrize(
    "rest", [b"zz\r\nabc\r\n", b"3\r\nabcXX0\r\n\r\n", b"3\r\nabc", b"3\r\nabc\r\n0\r\nBad Trailer\r\n\r\n"]
)
def test_broken_chunks(tmp_path, worker, rest):
    with gunicorn(tmp_path / "log", "--worker-class", worker) as (base, _process):
        host, port = urlsplit(base).netloc.split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            head = f"POST {URL} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + rest)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert not DeliveryEvent.objects.exists()


def test_runserver(tmp_path):
    log = tmp_path / "log"
    with runserver(log, DJANGO_SETTINGS_MODULE="tests.settings_redacted") as (base, _process):
        body = json.dumps(EXAMPLE).encode()
        assert requests.post(base + URL, body, headers=JSON).json() == {"status": "recorded"}
        assert requests.post(base + URL, in_pieces(body), headers=JSON).status_code == 411
        assert requests.post(f"{base}/plugchat/callback/some-wrong-secret/", body, headers=JSON).status_code == 404
    assert DeliveryEvent.objects.get().times_received == 1
    shown = log.read_text()
    assert '"POST /plugchat/callback/[redacted]/ HTTP/1.1" 200' in shown
    assert SECRET not in shown
    assert "some-wrong-secret" not in shown
