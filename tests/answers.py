"""How the callback URL answers: what the documentation says is checked by it."""

from __future__ import annotations

from typing import NamedTuple


class Answer(NamedTuple):
    case: str
    status: int
    #: What ``{"status": …}`` says; "" where the body is one of DRF's errors.
    body: str
    #: What is stored.
    stored: str


#: In the order in which they are decided.
ANSWERS = (
    Answer("unknown secret, none configured, any other path below `callback/`", 404, "", "nothing"),
    Answer("a method other than POST", 405, "", "nothing"),
    Answer(
        "a content type other than `application/json`, or a `Content-Encoding` other than gzip, deflate or identity",
        415,
        "",
        "nothing",
    ),
    Answer("larger than `MAX_BODY_BYTES`, as sent or decompressed", 413, "", "nothing"),
    Answer("no declared length, and the server can't hand the body over complete", 411, "", "nothing"),
    Answer("fewer bytes than declared: the client went away", 400, "", "nothing"),
    Answer("another type, a status of incoming messages, a conversation", 200, "ignored", "nothing"),
    Answer("not JSON in UTF-8, or a field missing or unusable", 400, "", "a `RejectedCallback`"),
    Answer("a new event; of several, at least one new", 200, "recorded", "a `DeliveryEvent` for each"),
    Answer("the same event again", 200, "duplicate", "counted on the event"),
    Answer("the database failed", 503, "", "nothing"),
)
