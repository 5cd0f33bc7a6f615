"""The bytes of a request, never more than ``MAX_BODY_BYTES`` of them in memory, on any server."""

import zlib
from contextlib import suppress
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType

from django_plugchat.conf import app_settings

#: How much of a refused body is read all the same, so that the connection can be kept.
MAX_DRAINED = 1024 * 1024
_CHUNK = 65536
_COMPRESSED = {"gzip", "deflate"}


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The body is too large.")


class LengthRequired(APIException):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = _("Send a Content-Length.")


def read(request: HttpRequest) -> tuple[bytes, bool]:
    """The body without its Content-Encoding, and whether it is what that says; else as far as it goes.

    It can be read again from the request, as it was sent. Raises UnsupportedMediaType, TooLarge, LengthRequired where
    the server can't hand over a body whose length is not declared, and ParseError when the client goes away.
    """
    coding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if request.content_type != "application/json":
        raise UnsupportedMediaType(request.content_type or "")
    if coding not in {"", "identity", *_COMPRESSED}:
        raise UnsupportedMediaType(coding)
    limit, declared = app_settings.max_body_bytes, _declared_length(request)
    if declared is not None and declared > limit:
        raise TooLarge
    try:
        body = _read_up_to(limit + 1, request)
    except Exception:
        # A client that went away, or broke the chunks: each server has exceptions of its own, which may quote the body.
        raise ParseError(_("The body ended early.")) from None
    if declared is None and not body:
        raise LengthRequired
    if len(body) < (declared or 0):
        raise ParseError(_("The body ended early."))
    content, is_whole = inflated(body, coding, limit)
    if len(content) > limit:
        raise TooLarge
    return content, is_whole


def drain(request: Any) -> None:
    """Read what is left of a refused body, up to a bound: else it would be taken for the connection's next request."""
    with suppress(Exception):  # refused in any case
        stream = _stream(request)
        _read_up_to(app_settings.max_body_bytes, request)
        drained = 0
        # The request's own stream is by now what was read of the body.
        while stream is not request._stream and drained < MAX_DRAINED and (chunk := stream.read(_CHUNK)):
            drained += len(chunk)


def _declared_length(request: HttpRequest) -> int | None:
    declared = request.META.get("CONTENT_LENGTH") or ""
    if not (declared.isascii() and declared.isdecimal()):
        return None
    return int(declared[:20])  # more digits than any length, and fewer than Python converts


def _stream(request: Any) -> Any:
    """What to read the body from to its end. It is empty where only a declared length would say where that is."""
    if _declared_length(request) is not None or isinstance(request, ASGIRequest):
        return request._stream
    source = request.META.get("wsgi.input")
    # Django reads nothing where no length is declared. But some servers end the stream themselves, and adapters from
    # ASGI have the whole body in a file.
    if request.META.get("wsgi.input_terminated") or isinstance(source, BytesIO | SpooledTemporaryFile):
        return source
    return BytesIO()


def _read_up_to(limit: int, request: Any) -> bytes:
    """At most so many bytes. Kept as the request's body, for other code."""
    if hasattr(request, "_body"):  # a middleware has read it
        return bytes(request.body)
    stream, body = _stream(request), b""
    try:
        while len(body) < limit and (chunk := stream.read(limit - len(body))):
            body += chunk
    finally:
        request._body, request._stream = body, BytesIO(body)
    return body


def inflated(body: bytes, coding: str, limit: int) -> tuple[bytes, bool]:
    """What gzip or deflate made of a body, and whether that is whole; else as far as it goes, or the body itself.

    More bytes than the limit, by one, say that there are more. The cost is linear, however many members there are.
    """
    if coding not in _COMPRESSED:
        return body, True
    window_bits = 16 + zlib.MAX_WBITS if coding == "gzip" else zlib.MAX_WBITS
    content, is_whole = _inflated(body, window_bits, limit + 1)
    if coding == "deflate" and not content and not is_whole:
        # RFC 9110, 8.4.1.2: some send it without zlib's header.
        content, is_whole = _inflated(body, -zlib.MAX_WBITS, limit + 1)
    # Of plain JSON, too, something comes out.
    is_plain = not content or (coding == "deflate" and body.startswith(b"{"))
    return (body, False) if is_plain and not is_whole else (content, is_whole)


def _inflated(body: bytes, window_bits: int, most: int) -> tuple[bytes, bool]:
    """What comes out, at most so many bytes, and whether the body ends as it should."""
    content, inflater = BytesIO(), zlib.decompressobj(window_bits)
    # Byte by byte: nothing is returned of a call that fails, and all that follows a member is copied.
    with suppress(zlib.error):
        for byte in body:
            if inflater.eof:
                if window_bits <= zlib.MAX_WBITS:
                    return content.getvalue(), False
                # A gzip file may have several members, and zero bytes after each.
                if byte == 0:
                    continue
                inflater = zlib.decompressobj(window_bits)
            content.write(inflater.decompress(bytes([byte]), most - content.tell()))
            if content.tell() == most:
                break
    return content.getvalue(), inflater.eof
