"""How the callback URL answers: what the documentation says is checked by it."""

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
    Answer("unknown secret", 404, "", "nothing"),
    Answer("a method other than POST", 405, "", "nothing"),
    Answer("a content type other than JSON, an encoding that nobody knows", 415, "", "nothing"),
    Answer("larger than MAX_BODY_BYTES", 413, "", "nothing"),
    Answer("no declared length, and no complete body", 411, "", "nothing"),
    Answer("fewer bytes than declared", 400, "", "nothing"),
    Answer("another type", 200, "ignored", "nothing"),
    Answer("a status that nobody knows yet", 200, "ignored", "a rejected callback"),
    Answer("not JSON, or a field that is missing or unusable", 400, "", "a rejected callback"),
    Answer("a new event", 200, "recorded", "an event"),
    Answer("the same event again", 200, "duplicate", "counted on the event"),
    Answer("the database failed, and there is a spool", 200, "kept", "a file"),
    Answer("the database failed", 503, "", "nothing"),
)
