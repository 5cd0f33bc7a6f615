"""Through the servers that people use, with a middleware that reads each body after the view."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import requests

from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.redaction import MASK

from .payloads import EXAMPLE, SECRET, URL
from .servers import SERVERS, free_port, gunicorn, running, runserver, serving

pytestmark = pytest.mark.django_db(transaction=True)

JSON = {"Content-Type": "application/json"}
BODY = json.dumps(EXAMPLE).encode()
WRONG_URL = "/plugchat/callback/some-wrong-secret-of-nobody/"

#: What tests without services and their packages try as well.
_ALWAYS = {"gunicorn sync", "gunicorn gthread"}
#: These give an application no way to tell where a body ends whose length is not declared.
WITHOUT_END = {"uwsgi", "uvicorn, a2wsgi"}
#: These hand over what came of such a body before the client went away as if it were all of it.
WITHOUT_BREAK = {"granian, WSGI", "hypercorn, WSGI"}


class Server(NamedTuple):
    name: str
    base: str
    log: Path


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name in _ALWAYS else pytest.mark.services) for name in SERVERS],
)
def server(request, tmp_path_factory, django_db_setup, django_db_blocker) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with (
        django_db_blocker.unblock(),
        serving(SERVERS[request.param], log, DJANGO_SETTINGS_MODULE="tests.settings_servers") as base,
    ):
        yield Server(request.param, base, log)


def in_pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


def said_until_closed(base: str, head: str, rest: bytes) -> bytes:
    """What a server answers to a client that sends no more; it may also just close the connection."""
    host, port = urlsplit(base).netloc.split(":")
    said = b""
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"POST {URL} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n\r\n".encode() + rest)
        client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while piece := client.recv(65536):
                said += piece
    return said


def test_recorded_repeated_and_refused(server):
    with requests.Session() as session:
        answers = [session.post(server.base + URL, body, headers=JSON) for body in (BODY, BODY, b"[" * 1000)]
    assert [answer.json() for answer in answers[:2]] == [{"status": "recorded"}, {"status": "duplicate"}]
    assert answers[2].status_code == 400
    assert [answer.headers["X-Length-Of-Body"] for answer in answers] == [str(len(BODY)), str(len(BODY)), "1000"]
    assert DeliveryEvent.objects.get().times_received == 2
    assert RejectedCallback.objects.get().body_text == "[" * 1000


def test_a_body_without_a_declared_length(server):
    answer = requests.post(server.base + URL, in_pieces(BODY), headers=JSON)
    if server.name in WITHOUT_END:
        assert answer.status_code == 411
    else:
        assert answer.json() == {"status": "recorded"}
    assert DeliveryEvent.objects.count() == (server.name not in WITHOUT_END)
    assert not RejectedCallback.objects.exists()


#: What comes of a callback, by how its body is framed, from a client that then goes away.
BEGINNINGS = [
    (f"Content-Length: {len(BODY)}", b""),
    (f"Content-Length: {len(BODY)}", BODY[:20]),
    ("Transfer-Encoding: chunked", b"14\r\n" + BODY[:20]),
    ("Transfer-Encoding: chunked", b"14\r\n" + BODY[:20] + b"\r\n"),
    ("Transfer-Encoding: chunked", b"zz\r\n" + BODY[:20] + b"\r\n0\r\n\r\n"),
]


def test_a_client_that_goes_away(server):
    for framing, beginning in BEGINNINGS:
        said = said_until_closed(server.base, f"Content-Type: application/json\r\n{framing}", beginning)
        # Some servers say 500 by themselves, to nobody.
        assert said[9:12] in {b"", b"400", b"411", b"500"}
        assert not RejectedCallback.objects.exists() or ("chunked" in framing and server.name in WITHOUT_BREAK)
    assert requests.post(server.base + URL, BODY, headers=JSON).json() == {"status": "recorded"}


def test_a_callback_on_the_connection_of_a_refused_one(server):
    with closing(http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=30)) as connection:
        answers = []
        # It opens a new connection where the server has said that it closes this one.
        for url, body in [(WRONG_URL, b"[" * 300_000), (URL, BODY), (URL, b"[" * 300_000), (URL, BODY)]:
            connection.request("POST", url, body, JSON)
            response = connection.getresponse()
            response.read()
            answers.append(response.status)
    assert answers == [404, 200, 413, 200]


def test_the_secret_is_not_printed(server):
    for url, body in [(URL, BODY), (URL, b"[" * 1000), (WRONG_URL, BODY)]:
        requests.post(server.base + url, body, headers=JSON)
    assert requests.get(server.base + URL).status_code == 405
    shown = server.log.read_text()
    assert SECRET not in shown
    assert "some-wrong-secret" not in shown


@pytest.mark.services
@pytest.mark.parametrize("name", ["daphne", "uwsgi"])
def test_who_prints_the_secret_without_the_switch(tmp_path, name):
    switches = {"--verbosity", "0", "--disable-logging"}
    arguments = [argument for argument in SERVERS[name] if argument not in switches]
    with serving(arguments, tmp_path / "log") as base:
        # The second is answered when the line of the first is written.
        requests.post(base + URL, BODY, headers=JSON)
        requests.post(base + URL, BODY, headers=JSON)
    assert SECRET in (tmp_path / "log").read_text()


def resident_megabytes(pid: int) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def status_of_large_body(base: str, size: int) -> int:
    """0 where the server closed the connection on what it did not want to read, before its answer could be read."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)
    connection.putrequest("POST", URL)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Transfer-Encoding", "chunked")
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


def test_a_large_body_is_not_held_in_memory(tmp_path):
    with gunicorn(tmp_path / "log", "--workers", "1") as (base, process):
        assert requests.post(base + URL, BODY, headers=JSON).json() == {"status": "recorded"}
        (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        before = resident_megabytes(int(worker))
        assert status_of_large_body(base, 50_000_000) in {413, 0}
        assert resident_megabytes(int(worker)) - before < 10
        assert requests.post(base + URL, BODY, headers=JSON).json() == {"status": "duplicate"}


def test_the_access_log_of_gunicorn(tmp_path):
    log = tmp_path / "log"
    with gunicorn(log, "--config", "tests/gunicorn_conf.py") as (base, _process):
        requests.post(base + URL, BODY, headers=JSON)
    assert re.search(
        rf"^20[^ ]+ [^ ]+ \[\d+\] \[INFO\] .*POST /plugchat/callback/{re.escape(MASK)}/ HTTP/1.1", log.read_text(), re.M
    )


def test_the_error_log_of_gunicorn(tmp_path):
    log, port = tmp_path / "log", free_port()
    options = ["--bind", f"127.0.0.1:{port}", "--config", "tests/gunicorn_conf.py"]
    with running("gunicorn", *options, "tests.servers:failing", port=port, log=log):
        assert requests.post(f"http://127.0.0.1:{port}{URL}", BODY, headers=JSON).status_code == 500
    shown = log.read_text()
    # Since 25.1 with the method before the path.
    assert re.search(rf"\[ERROR\] Error handling request (POST )?/plugchat/callback/{re.escape(MASK)}/", shown)
    assert f"ValueError: /plugchat/callback/{MASK}/" in shown
    assert SECRET not in shown


def test_runserver(tmp_path):
    log = tmp_path / "log"
    with runserver(log, DJANGO_SETTINGS_MODULE="tests.settings_redacted") as (base, _process):
        assert requests.post(base + URL, BODY, headers=JSON).json() == {"status": "recorded"}
        assert requests.post(base + URL, in_pieces(BODY), headers=JSON).status_code == 411
        assert requests.post(base + WRONG_URL, BODY, headers=JSON).status_code == 404
    assert DeliveryEvent.objects.get().times_received == 1
    shown = log.read_text()
    assert f'"POST /plugchat/callback/{MASK}/ HTTP/1.1" 200' in shown
    assert SECRET not in shown
    assert "some-wrong-secret" not in shown
