import re
from functools import lru_cache
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

from django_plugchat.conf import app_settings
from django_plugchat.phones.numbers import MASK

_APP = "django_plugchat"
# A secret, or what was meant to be one; and the token in the path of Z-API's calls. A secret may be mistyped with
# quotes: the text goes on after those that nothing like an end follows.
_TO_ITS_END = r"(?:[^\s\"'<>]|[\"'<>](?![\s>,;:)\]}]|\Z))"
_AFTER_NAME = re.compile(rf"((?:callback|/token)/+)(?![/?#]){_TO_ITS_END}+", re.IGNORECASE)
# A search is a GET: its query holds the number that somebody looked for, as does ?next= after a session's end.
_QUERY = re.compile(rf"\?{_TO_ITS_END}+")
_AUTOCOMPLETE = "/autocomplete/?"
_UNSPACED = re.compile(r"\S+")
_MAX_TIMES_QUOTED = 5

# What secrets are made of, and nearly all tokens (RFC 9110, token68).
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_LONGER_WORD = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class _Confidential:
    """All configured secrets and tokens: what a text costs does not grow with the number of accounts."""

    def __init__(self, texts: frozenset[str]) -> None:
        self.texts = texts
        self.of_other_characters = [text for text in texts if not _LONGER_WORD.fullmatch(text)]

    def hidden_in(self, text: str) -> str:
        for other in self.of_other_characters:
            text = text.replace(other, MASK)
        return _WORD.sub(self._shown, _LONGER_WORD.sub(self._shown, text))

    def _shown(self, word: re.Match[str]) -> str:
        text = word[0]
        if text in self.texts:
            return MASK
        # After an escaped line break, whose letter looks like the secret's first.
        return text[0] + MASK if text[1:] in self.texts else text


_confidential = lru_cache(maxsize=2)(_Confidential)


def _without_confidential(text: str) -> str:
    try:
        return _confidential(app_settings.index.confidential).hidden_in(text)
    except ImproperlyConfigured:
        # A server's own process, which logs before it loads the project.
        return text


def redact(text: str) -> str:
    """Without webhook secrets, tokens, what follows ``callback/`` and ``/token/``, and queries of our admin pages."""
    if "%" in text:
        text = _UNSPACED.sub(lambda word: _redacted_word(word[0]), text)
    return _redacted(text)


def unquoted(text: str) -> str:
    """Without the escapes of URLs, also escaped ones; "" where they are escaped so often only to hide what it is."""
    for _time in range(_MAX_TIMES_QUOTED):
        quoted, text = text, unquote(text)
        if text == quoted:
            return text
    return ""


def _redacted_word(word: str) -> str:
    """A word without the escapes of URLs, where something has to be hidden in it; else as it is."""
    if not (plain := unquoted(word)):
        return MASK
    plain = "".join(plain.split())  # one word still, to whose end is masked
    shown = _redacted(plain)
    return word if shown == plain else shown


def _redacted(text: str) -> str:
    text = _AFTER_NAME.sub(_masked, text)
    if _APP in text or _AUTOCOMPLETE in text:
        text = _UNSPACED.sub(lambda word: _without_query(word[0]), text)
    return _without_confidential(text)


def _masked(found: re.Match[str]) -> str:
    return f"{found[1]}{MASK}{'/' if found[0].endswith('/') else ''}"


def _without_query(url: str) -> str:
    return _QUERY.sub(f"?{MASK}", url) if _APP in url or _AUTOCOMPLETE in url else url


def mask_url(url: str) -> str:
    """For people to read: redacted, and without any query."""
    path, question_mark, _query = url.partition("?")
    return (_redacted_word(path) if path else "") + (f"?{MASK}" if question_mark else "")
