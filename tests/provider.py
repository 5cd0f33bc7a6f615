"""A stand-in for PlugChat's API: a real server on this machine."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TAKEN = (200, {"Content-Type": "application/json"}, b'{"value": true}')


@dataclass
class Provider:
    """Answers one after another, the last one for ever, and keeps what it was asked."""

    base_url: str = ""
    answers: list[Any] = field(default_factory=lambda: [TAKEN])
    requests: list[tuple[str, str, Any, bytes]] = field(default_factory=list)
    #: Ends the answer of a server that hangs.
    finish: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.requests.append((request.command, request.path, request.headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer(request)
            return
        status, headers, content = answer
        request.send_response(status)
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


def drop(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


def drop_in_the_middle(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"value')
    request.close_connection = True


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

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        provider.base_url = f"http://127.0.0.1:{server.server_port}/api/whatsapp"
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            provider.base_url = f"https://localhost:{server.server_port}/api/whatsapp"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((provider, server, thread))
        return provider

    yield serve
    for provider, server, thread in running:
        provider.finish.set()
        server.shutdown()
        server.server_close()
        thread.join()
