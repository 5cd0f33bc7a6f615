from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

from django_plugchat.conf import AccountIndex, app_settings
from django_plugchat.phones.numbers import MASK

# What follows it is a secret, or was meant to be one.
_CALLBACK = re.compile(r"callback/+[^/?#]", re.IGNORECASE)
_APP = "django_plugchat"
# What may be a URL, wherever it stands: in a request line, in JSON.
_WORDS = re.compile(r"[^\s\"'<>]+")
# What may hold a token, which has no space but may have anything else.
_UNSPACED = re.compile(r"\S+")
_MAX_TIMES_QUOTED = 5
_LONGEST_START = 8


class _Confidential:
    """All secrets and tokens, by how they start: what a text costs does not grow with the number of accounts."""

    def __init__(self, texts: frozenset[str]) -> None:
        self.texts = texts
        self.shortest = min(map(len, texts), default=0)
        self.start = min(self.shortest, _LONGEST_START)
        lengths: dict[str, set[int]] = {}
        for text in texts:
            lengths.setdefault(text[: self.start], set()).add(len(text))
        # The longest first: one may begin with another.
        self.lengths = {start: sorted(found, reverse=True) for start, found in lengths.items()}

    def hidden_in(self, text: str) -> str:
        if not self.texts or len(text) < self.shortest:
            return text
        shown: list[str] = []
        end = 0
        for start, stop in self._found_in(text):
            shown += (text[end:start], MASK)
            end = stop
        return "".join(shown) + text[end:] if shown else text

    def _found_in(self, text: str) -> Iterator[tuple[int, int]]:
        for word in _UNSPACED.finditer(text):
            position, last = word.start(), word.end() - self.shortest
            while position <= last:
                length = self._length_at(text, position)
                if length:
                    yield position, position + length
                position += length or 1

    def _length_at(self, text: str, position: int) -> int:
        for length in self.lengths.get(text[position : position + self.start], ()):
            if text[position : position + length] in self.texts:
                return length
        return 0


# Kept together with what it was built from, so that a thread never pairs one with the other's.
_known: tuple[AccountIndex | None, _Confidential] = (None, _Confidential(frozenset()))


def _without_secrets(text: str) -> str:
    global _known
    try:
        index = app_settings.index
    except ImproperlyConfigured:
        # A server's own process, which logs before it loads the project.
        return text
    known = _known
    if known[0] is not index:
        known = _known = (index, _Confidential(index.confidential))
    return known[1].hidden_in(text)


def redact(text: str) -> str:
    """The text without webhook secrets, tokens, what follows ``callback/``, and queries of this app's admin pages."""
    if "%" in text or _APP in text or "callback" in text.lower():
        text = _WORDS.sub(lambda word: _redacted_word(word[0]), text)
    return _without_secrets(text)


def redact_configured(text: str) -> str:
    """The same for what is not this app's: only the secrets and tokens that are configured."""
    if "%" in text:
        text = _WORDS.sub(lambda word: _redacted_word(word[0], ours=False), text)
    return _without_secrets(text)


def _redacted_word(word: str, *, ours: bool = True) -> str:
    plain = word
    for _time in range(_MAX_TIMES_QUOTED):
        unquoted = unquote(plain) if "%" in plain else plain
        if unquoted == plain:
            break
        plain = unquoted
    else:
        # Nobody quotes a URL so often but to hide what it is.
        return MASK
    shown = _cut(plain) if ours else plain
    shown = _without_secrets(shown)
    return word if shown == plain else shown


def _cut(url: str) -> str:
    if found := _CALLBACK.search(url):
        # To the end: a secret may be mistyped with anything.
        url = f"{url[: found.end() - 1]}{MASK}{'/' if url.endswith('/') else ''}"
    if _APP in url and "?" in url:
        # A search is a GET: its query holds the number that somebody looked for, as does ?next= after a session's end.
        url = f"{url.partition('?')[0]}?{MASK}"
    return url


def mask_url(url: str) -> str:
    """The URL for people to read: without what follows ``callback/``, configured secrets and tokens, and queries."""
    path, question_mark, _query = url.partition("?")
    return _redacted_word(path) + (f"?{MASK}" if question_mark else "")
