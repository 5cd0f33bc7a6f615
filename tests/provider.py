"""A stand-in for PlugChat's API, and for whatever else may answer: real servers on this machine."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

TAKEN = (200, {"Content-Type": "application/json"}, b'{"value": true}')


@dataclass
class Provider:
    """Answers one after another, the last one for ever, and keeps what it was asked."""

    base_url: str = ""
    port: int = 0
    answers: list[Any] = field(default_factory=lambda: [TAKEN])
    requests: list[tuple[str, str, Any, bytes]] = field(default_factory=list)
    #: Ends the answer of a server that hangs.
    finish: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"] or 0))
        self.requests.append((request.command, request.path, request.headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer(request)
            return
        status, headers, content = answer
        request.send_response_only(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    def hang(self, request: BaseHTTPRequestHandler) -> None:
        self.finish.wait()
        request.close_connection = True

    def hang_in_the_middle(self, request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"value')
        request.wfile.flush()
        self.hang(request)

    def drip(self, request: BaseHTTPRequestHandler, start: bytes) -> None:
        """Send a byte now and then, for ever."""
        request.wfile.write(start)
        while not self.finish.wait(0.02):
            request.wfile.write(b"a")
        request.close_connection = True

    def drip_headers(self, request: BaseHTTPRequestHandler) -> None:
        self.drip(request, b"HTTP/1.1 200 OK\r\nX-Drop: ")

    def drip_body(self, request: BaseHTTPRequestHandler) -> None:
        self.drip(request, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")


def drop(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


def drop_in_the_middle(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"value')
    request.close_connection = True


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gives up breaks the connection: what the tests with a slow server are about."""


@contextmanager
def serving() -> Iterator[Callable[..., Provider]]:
    """Gives a function that starts a provider with these answers; all of them end with the block."""
    running: list[tuple[Provider, ThreadingHTTPServer, threading.Thread]] = []

    def serve(*answers: Any, tls: ssl.SSLContext | None = None) -> Provider:
        provider = Provider()
        provider.answers = list(answers) or provider.answers

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                provider.answer(self)

            def do_POST(self) -> None:
                provider.answer(self)

            def do_GET(self) -> None:
                provider.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        server = _QuietServer(("127.0.0.1", 0), Handler)
        provider.port = server.server_port
        provider.base_url = f"http://127.0.0.1:{server.server_port}/api/whatsapp"
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            provider.base_url = f"https://localhost:{server.server_port}/api/whatsapp"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((provider, server, thread))
        return provider

    try:
        yield serve
    finally:
        for provider, server, thread in running:
            provider.finish.set()
            server.shutdown()
            server.server_close()
            thread.join()


class Authority:
    """A certificate authority of a test."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def tls(self, *names: str) -> ssl.SSLContext:
        """For a server of these names."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(*names).configure_cert(context)
        return context

    def trust(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ca.cert_pem.write_to_path(directory / "ca.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(directory / "ca.pem"))


def forget_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates of the machine that the tests run on."""
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def resolve_here(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have these names lead to this machine, as a real one leads to its site."""
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        return look_up("127.0.0.1" if host in names else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
