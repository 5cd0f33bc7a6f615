"""The bytes of a body: how they come on each server, compressed or not, whole or not, and how many."""

import gzip
import io
import json
import time
import tracemalloc
import zlib
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client
from django.test.client import FakePayload

from django_plugchat import recording
from django_plugchat.bodies import inflated
from django_plugchat.models import DeliveryEvent, RejectedCallback

from . import hostile
from .payloads import EXAMPLE, LIVE_SUCCESS, LIVE_SUCCESS_GZIPPED, URL, url_of
from .rows import assert_nothing_stored

pytestmark = pytest.mark.django_db

BODY = json.dumps(EXAMPLE).encode()
LIMIT = 65536


# Too large


def test_at_the_limit(post, plugchat):
    plugchat(MAX_BODY_BYTES=len(BODY))
    assert post(BODY).status_code == 200
    assert post(BODY + b" ").status_code == 413
    assert not RejectedCallback.objects.exists()


def test_a_limit_that_is_changed_in_place(post, settings, monkeypatch):
    monkeypatch.setitem(settings.PLUGCHAT, "MAX_BODY_BYTES", len(BODY) - 1)
    assert post(BODY).status_code == 413


def test_declared_too_large_is_not_stored_nor_parsed(post):
    for declared in (LIMIT + 1, "9" * 5000):
        assert post(b"{}", CONTENT_LENGTH=str(declared)).status_code == 413
    assert_nothing_stored()


def test_a_projects_limit_does_not_apply(post, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert post(EXAMPLE).json() == {"status": "recorded"}


def test_a_byte_order_mark_is_skipped(post):
    assert post(b"\xef\xbb\xbf" + BODY).json() == {"status": "recorded"}
    assert post(BODY).json() == {"status": "duplicate"}
    assert post(b'\xef\xbb\xbf{"type": "ReceivedCallback"}').json() == {"status": "ignored"}


# Compressed


def deflated(body: bytes, window_bits: int = -zlib.MAX_WBITS) -> bytes:
    compressor = zlib.compressobj(wbits=window_bits)
    return compressor.compress(body) + compressor.flush()


def named_gzip(body: bytes) -> bytes:
    file = io.BytesIO()
    with gzip.GzipFile("a file's name", "wb", fileobj=file) as compressed:
        compressed.write(body)
    return file.getvalue()


COMPRESSED = [
    ("gzip", gzip.compress(BODY)),
    ("gzip", named_gzip(BODY)),
    ("gzip", gzip.compress(BODY[:20]) + gzip.compress(b"") + gzip.compress(BODY[20:])),
    ("gzip", gzip.compress(BODY) + bytes(100)),
    ("GZip ", gzip.compress(b"\xef\xbb\xbf" + BODY)),
    ("deflate", zlib.compress(BODY)),
    ("deflate", deflated(BODY, zlib.MAX_WBITS - 5)),
    ("deflate", deflated(b"\xef\xbb\xbf" + BODY)),
    ("identity", BODY),
    ("", BODY),
]


@pytest.mark.parametrize(("coding", "body"), COMPRESSED, ids=range(len(COMPRESSED)))
def test_compressed(post, coding, body):
    assert post(body, HTTP_CONTENT_ENCODING=coding).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.get().payload == EXAMPLE
    assert post(EXAMPLE).json() == {"status": "duplicate"}


def test_a_captured_body(post):
    assert post(LIVE_SUCCESS_GZIPPED, HTTP_CONTENT_ENCODING="gzip").json() == {"status": "recorded"}
    assert DeliveryEvent.objects.get().payload == LIVE_SUCCESS


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "identity, gzip", "gzip;q=1", "utf-8", ","])
def test_other_encodings(post, coding):
    assert post(b"[" * 70_000, HTTP_CONTENT_ENCODING=coding).status_code == 415
    assert_nothing_stored()


@pytest.mark.parametrize(
    ("coding", "bomb"),
    [
        ("gzip", gzip.compress(b" " * 40_000_000)),
        ("gzip", gzip.compress(gzip.compress(b" " * 40_000_000)) * 2),
        ("gzip", gzip.compress(b" " * LIMIT) + gzip.compress(b" ")),
        ("gzip", gzip.compress(b" " * 60_000) * 300),
        ("deflate", zlib.compress(b" " * 40_000_000)),
        ("deflate", deflated(b" " * 40_000_000)),
        ("gzip", gzip.compress(b" " * (LIMIT + 1))[:-8]),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_bombs(post, coding, bomb):
    assert len(bomb) < LIMIT
    post(bomb, HTTP_CONTENT_ENCODING=coding)  # the first request of a process imports much
    tracemalloc.start()
    try:
        assert post(bomb, HTTP_CONTENT_ENCODING=coding).status_code == 413
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * LIMIT
    assert_nothing_stored()


def test_decompressed_up_to_the_limit(post, plugchat):
    plugchat(MAX_BODY_BYTES=1000)
    assert post(gzip.compress(BODY.ljust(1000)), HTTP_CONTENT_ENCODING="gzip").status_code == 200
    assert post(gzip.compress(BODY.ljust(1001)), HTTP_CONTENT_ENCODING="gzip").status_code == 413


LONG = json.dumps({"a": list(range(5000))}).encode()


def corrupted(body: bytes, position: int) -> bytes:
    """With another byte there, which no compressor wrote."""
    return body[:position] + bytes([body[position] ^ 0xFF]) + body[position + 1 :]


BROKEN = [
    # Kept whole: what is wrong comes after it.
    ("gzip", gzip.compress(BODY)[:-8], BODY),
    ("gzip", corrupted(gzip.compress(BODY), -1), BODY),
    ("gzip", gzip.compress(BODY) + b"x", BODY),
    ("gzip", gzip.compress(BODY) + gzip.compress(BODY)[:5], BODY),
    ("deflate", zlib.compress(BODY)[:-4], BODY),
    ("deflate", corrupted(zlib.compress(BODY), -1), BODY),
    ("deflate", zlib.compress(BODY) + zlib.compress(BODY), BODY),
    ("deflate", deflated(BODY) + b"\0", BODY),
    # Kept as it came: none of it is what it says.
    ("gzip", BODY, BODY),
    ("deflate", BODY, BODY),
    ("gzip", b"", b""),
    ("deflate", b"x", b"x"),
    ("gzip", zlib.compress(BODY), zlib.compress(BODY)),
    ("gzip", gzip.compress(BODY)[:10], gzip.compress(BODY)[:10]),
]


@pytest.mark.parametrize(("coding", "body", "kept"), BROKEN, ids=range(len(BROKEN)))
def test_broken_ones_are_kept_decompressed(post, coding, body, kept):
    headers = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}  # also for an empty one
    response = post(body, HTTP_CONTENT_ENCODING=coding, **headers)
    assert (response.status_code, list(response.json())) == (400, ["detail"])
    rejected = RejectedCallback.objects.get()
    assert (rejected.reason, rejected.errors) == ("encoding", {})
    assert bytes(rejected.body) == kept
    assert post(body, HTTP_CONTENT_ENCODING=coding, **headers).status_code == 400
    rejected.refresh_from_db()
    assert rejected.times_received == 2
    replayed = recording.replay(rejected)
    assert (replayed is not None) == (kept == BODY)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(LONG)[:3000]),
        ("gzip", corrupted(gzip.compress(LONG), 3000)),
        ("gzip", gzip.compress(LONG[:5000]) + corrupted(gzip.compress(LONG[5000:]), 2000)),
        ("deflate", zlib.compress(LONG)[:3000]),
        ("deflate", corrupted(deflated(LONG), 3000)),
    ],
    ids=range(5),
)
def test_broken_ones_are_kept_as_far_as_they_go(post, coding, body):
    assert post(body, HTTP_CONTENT_ENCODING=coding).status_code == 400
    kept = bytes(RejectedCallback.objects.get().body)
    assert kept[:5000] == LONG[:5000]
    assert len(kept) <= LIMIT


def test_a_broken_bomb(post):
    bomb = gzip.compress(b" " * 40_000_000)
    assert post(corrupted(bomb, -1), HTTP_CONTENT_ENCODING="gzip").status_code == 413
    assert post(corrupted(bomb, 30_000), HTTP_CONTENT_ENCODING="gzip").status_code == 413
    assert_nothing_stored()


def test_many_members_cost_as_much_as_they_are_long():
    """Four times as many took sixteen times as long."""

    def seconds(members: int) -> float:
        started = time.process_time()
        assert inflated(gzip.compress(b"") * members, "gzip", LIMIT) == (b"", True)
        return time.process_time() - started

    assert seconds(20_000) < 10 * seconds(5_000)


# Other transports


class Stream(io.RawIOBase):
    """A body that comes in small pieces, may fail at its end, and knows how much of it was read."""

    def __init__(self, body: bytes, fail: bool = False, piece: int = 7) -> None:
        self.body, self.fail, self.piece = body, fail, piece
        self.bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        if not self.body and self.fail:
            raise OSError("554499999999")
        size = min(size, self.piece) if size >= 0 else self.piece
        piece, self.body = self.body[:size], self.body[size:]
        self.bytes_read += len(piece)
        return piece


def post_stream(stream: Any, url: str = URL, **environ: Any) -> Any:
    return Client().generic(
        "POST", url, **{"wsgi.input": stream, "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": ""} | environ
    )


@pytest.mark.parametrize("declared", ["", "-1", "+5", "five", "1.0"])
@pytest.mark.parametrize("body", [BODY, b""])
def test_no_length_where_the_server_can_not_end_it(declared, body):
    stream = Stream(body)
    response = post_stream(stream, CONTENT_LENGTH=declared, HTTP_TRANSFER_ENCODING="chunked")
    assert (response.status_code, list(response.json())) == (411, ["detail"])
    assert stream.bytes_read == 0
    assert_nothing_stored()


def test_no_length_where_the_server_ends_it():
    """Chunked, or HTTP/2 without a length."""
    ended = {"wsgi.input_terminated": True}
    assert post_stream(Stream(BODY), **ended).json() == {"status": "recorded"}
    assert post_stream(Stream(BODY), **ended).json() == {"status": "duplicate"}
    compressed = Stream(gzip.compress(BODY))
    assert post_stream(compressed, HTTP_CONTENT_ENCODING="gzip", **ended).json() == {"status": "duplicate"}
    assert post_stream(Stream(b"[" * 70_000), **ended).status_code == 413
    assert post_stream(Stream(b""), **ended).status_code == 411
    assert not RejectedCallback.objects.exists()


def test_no_length_where_an_adapter_has_it_in_a_file():
    """As asgiref's WsgiToAsgi, which Lambda needs, and a2wsgi give it."""
    with SpooledTemporaryFile() as file:
        file.write(BODY)
        file.seek(0)
        assert post_stream(file).json() == {"status": "recorded"}
    assert post_stream(io.BytesIO(BODY)).json() == {"status": "duplicate"}
    assert post_stream(io.BytesIO(b"[" * 70_000)).status_code == 413
    assert post_stream(io.BytesIO(b"")).status_code == 411
    assert not RejectedCallback.objects.exists()


def test_pieces_that_end_at_the_limit(plugchat):
    plugchat(MAX_BODY_BYTES=14)
    ended = {"wsgi.input_terminated": True}
    assert post_stream(Stream(b'{"type": "xy"}'), **ended).json() == {"status": "ignored"}
    assert post_stream(Stream(b'{"type": "xy"} '), **ended).status_code == 413


def test_in_pieces():
    assert post_stream(Stream(BODY), CONTENT_LENGTH=str(len(BODY))).json() == {"status": "recorded"}


@pytest.mark.parametrize(
    "environ", [{"CONTENT_LENGTH": "1000"}, {"CONTENT_LENGTH": "1000", "HTTP_CONTENT_ENCODING": "gzip"}, {}]
)
@pytest.mark.parametrize("fails", [True, False])
def test_a_client_that_goes_away(caplog, environ, fails):
    environ = environ or {"wsgi.input_terminated": True}
    if "wsgi.input_terminated" in environ:
        fails = True  # its end is the only sign
    response = post_stream(Stream(BODY, fail=fails), **environ)
    assert (response.status_code, list(response.json())) == (400, ["detail"])
    assert_nothing_stored()
    assert "554499999999" not in caplog.text


def test_a_body_that_is_declared_empty():
    assert post_stream(Stream(b""), CONTENT_LENGTH="0").status_code == 400
    assert RejectedCallback.objects.get().body_text == ""


# ASGI


@async_to_sync
async def post_asgi(client: Any, body: bytes, *headers: tuple[bytes, bytes]) -> Any:
    """Through the adapter of ASGI; the length is declared in a header, or not."""
    return await client.request(
        method="POST",
        path=URL,
        headers=[(b"content-type", b"application/json"), *headers],
        _body_file=FakePayload(body),
    )


@pytest.mark.django_db(transaction=True)
def test_asgi(async_client):
    assert post_asgi(async_client, BODY, (b"content-length", b"%d" % len(BODY))).json() == {"status": "recorded"}
    assert post_asgi(async_client, BODY).json() == {"status": "duplicate"}
    compressed = gzip.compress(BODY)
    assert post_asgi(async_client, compressed, (b"content-encoding", b"gzip")).json() == {"status": "duplicate"}
    assert post_asgi(async_client, b"[" * 70_000).status_code == 413
    assert post_asgi(async_client, b"").status_code == 411
    assert post_asgi(async_client, BODY, (b"content-length", b"1000")).status_code == 400
    assert not RejectedCallback.objects.exists()


# Other code that reads the body


@pytest.fixture
def bodies_read(settings):
    """Use one of the middlewares in ``hostile``, and give what it has read."""

    def use(middleware: str) -> list[bytes]:
        settings.MIDDLEWARE = [f"tests.hostile.{middleware}", *settings.MIDDLEWARE]
        return hostile.bodies_read

    hostile.bodies_read.clear()
    yield use
    hostile.bodies_read.clear()


ANY_ANSWER: list[tuple[int, bytes, dict[str, Any]]] = [
    (200, BODY, {}),
    (200, gzip.compress(BODY), {"HTTP_CONTENT_ENCODING": "gzip"}),
    (400, b"x", {"HTTP_CONTENT_ENCODING": "gzip"}),
    (404, BODY, {"url": url_of("wrong")}),
    (404, BODY, {"url": "/plugchat/callback/a/b/c"}),
    (413, gzip.compress(b" " * 70_000), {"HTTP_CONTENT_ENCODING": "gzip"}),
    (415, BODY, {"content_type": "text/plain"}),
]


@pytest.mark.parametrize("middleware", ["read_body_before", "read_body_after", "read_stream_after"])
@pytest.mark.parametrize(("status", "body", "options"), ANY_ANSWER, ids=range(len(ANY_ANSWER)))
def test_middleware_that_reads_the_body(post, bodies_read, middleware, status, body, options):
    read = bodies_read(middleware)
    assert post(body, **options).status_code == status
    assert read == [body]


@pytest.mark.parametrize("middleware", ["read_body_after", "read_stream_after"])
def test_middleware_that_reads_what_was_too_large(post, bodies_read, middleware):
    read = bodies_read(middleware)
    assert post(b"[" * 70_000).status_code == 413
    assert [len(body) for body in read] == [LIMIT]


@pytest.mark.parametrize("middleware", ["read_body_before", "read_body_after", "read_stream_after"])
@pytest.mark.parametrize(
    ("status", "environ"),
    [
        (200, {"wsgi.input_terminated": True}),
        (411, {}),
        (415, {"wsgi.input_terminated": True, "CONTENT_TYPE": "text/plain"}),
        (405, {"wsgi.input_terminated": True, "REQUEST_METHOD": "PUT"}),
    ],
)
def test_middleware_that_reads_a_body_without_a_length(bodies_read, middleware, status, environ):
    """Before the view Django takes it for empty, whatever the server says: then it must be sent with its length."""
    read = bodies_read(middleware)
    before = middleware == "read_body_before"
    response = post_stream(Stream(BODY), **environ)
    assert response.status_code == (411 if before and status == 200 else status)
    assert read == [b"" if before or status == 411 else BODY]


def test_middleware_that_leaves_nothing(post, bodies_read):
    read = bodies_read("read_stream_before")
    assert post(BODY).status_code == 400
    assert read == [BODY]
    assert_nothing_stored()


# What is refused unread


@pytest.mark.parametrize(
    ("status", "options"),
    [
        (404, {"url": url_of("wrong")}),
        (405, {"REQUEST_METHOD": "PUT"}),
        (413, {}),
        (415, {"CONTENT_TYPE": "text/plain"}),
        (415, {"HTTP_CONTENT_ENCODING": "br"}),
    ],
)
@pytest.mark.parametrize("ended", [True, False])
def test_what_is_refused_is_drained(status, options, ended):
    """Left in the connection it would be taken for the next request."""
    stream = Stream(b"[" * 500_000, piece=LIMIT)
    length = {"wsgi.input_terminated": True} if ended else {"CONTENT_LENGTH": "500000"}
    assert post_stream(stream, **options | length).status_code == status
    assert stream.bytes_read == 500_000


@pytest.mark.parametrize("ended", [True, False])
def test_draining_has_a_bound(ended):
    size = 20_000_000
    stream = Stream(b"[" * size, piece=LIMIT)
    length = {"wsgi.input_terminated": True} if ended else {"CONTENT_LENGTH": f"{size}"}
    assert post_stream(stream, **length).status_code == 413
    assert LIMIT < stream.bytes_read < 2_000_000


def test_a_client_that_goes_away_while_its_body_is_drained():
    stream = Stream(b"[" * 1000, fail=True)
    assert post_stream(stream, CONTENT_LENGTH="500000").status_code == 413
    assert post_stream(stream, url=url_of("wrong"), CONTENT_LENGTH="500000").status_code == 404
