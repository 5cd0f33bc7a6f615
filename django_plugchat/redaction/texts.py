import re
from functools import lru_cache

from django.core.exceptions import ImproperlyConfigured

from django_plugchat.conf import app_settings
from django_plugchat.phones.numbers import MASK
from django_plugchat.phones.reading import unquoted

# A secret, or what was meant to be one; and the token in the path of Z-API's calls. A secret may be mistyped with
# quotes: the text goes on after those that nothing like an end follows.
_TO_ITS_END = r"(?:[^\s\"'<>]|[\"'<>](?![\s>,;:)\]}]|\Z))"
_AFTER_NAME = re.compile(rf"((?:callback|/token)/+)(?![/?#]){_TO_ITS_END}+", re.IGNORECASE)
# A search is a GET: its query holds the number that somebody looked for, as does ?next= after a session's end.
_QUERY = re.compile(rf"\?{_TO_ITS_END}+")
_OWN_PAGE = re.compile(r"(?<!\S)(?=\S*(?:django_plugchat|/autocomplete/\?))\S+")
_QUOTED = re.compile(r"(?<!\S)[^\s%]*+%\S*")

_CALLBACK_SEGMENT = re.compile(r"(?:\A|/)callback(?=/|\Z)")
# What may be a secret, or the most of one that was mistyped.
_SECRET = re.compile(r"[A-Za-z0-9_-]{8,}")


def redact(text: str) -> str:
    """Without webhook secrets, tokens, what follows ``callback/`` and ``/token/``, and queries of our admin pages."""
    return _redacted(_QUOTED.sub(lambda word: _redacted_word(word[0]), text))


def mask_url(url: str) -> str:
    """For people to read: redacted, and without any query."""
    path, question_mark, _query = url.partition("?")
    return _redacted_word(path) + (f"?{MASK}" if question_mark else "")


def _redacted_word(word: str) -> str:
    """A word without the escapes of URLs, where something has to be hidden in it; else as it is."""
    plain = "".join(unquoted(word).split())  # one word still, to whose end is masked
    shown = _redacted(plain)
    return word if shown == plain else shown


def _redacted(text: str) -> str:
    text = _AFTER_NAME.sub(lambda found: f"{found[1]}{MASK}{'/' if found[0].endswith('/') else ''}", text)
    text = _OWN_PAGE.sub(lambda url: _QUERY.sub(f"?{MASK}", url[0]), text)
    try:
        confidential = app_settings.confidential
    except ImproperlyConfigured:
        # A server's own process, which logs before it loads the project.
        return text
    return _without(confidential, text) if confidential else text


def _without(confidential: frozenset[str], text: str) -> str:
    """Without any of these, whatever stands beside it. What that costs does not grow with their number."""
    beginnings, lengths = _beginnings(confidential)
    shown, done, shortest = "", 0, lengths[-1]
    for start in [start for start in range(len(text)) if text[start : start + shortest] in beginnings]:
        for length in lengths:
            end = start + length
            # Fewer than eight characters may be a part of any word.
            is_one = length >= 8 or not any(map(str.isalnum, text[start - 1 : start] + text[end : end + 1]))
            if done <= start and end <= len(text) and is_one and text[start:end] in confidential:
                shown, done = f"{shown}{text[done:start]}{MASK}", end
    return shown + text[done:]


@lru_cache(maxsize=2)
def _beginnings(confidential: frozenset[str]) -> tuple[set[str], list[int]]:
    """The beginnings of all, each as long as the shortest of them, and their lengths, longest first."""
    lengths = sorted(set(map(len, confidential)), reverse=True)
    return {text[: lengths[-1]] for text in confidential}, lengths


def parted(path: str) -> tuple[str, list[str]]:
    """The path of a callback without what follows ``callback/``, and what may be a secret in that, known or not."""
    segment = _CALLBACK_SEGMENT.search(path)
    end = segment.end() if segment else 0
    # With a slash at its end, so that APPEND_SLASH leaves it alone.
    return f"{path[:end]}/{MASK}/", _SECRET.findall(path, end)


def without(secrets: list[str], text: str) -> str:
    """Proxies repeat the path in headers of their own, with whatever around the secret after they have rewritten it."""
    plain = hidden = unquoted(text)
    for secret in secrets:
        hidden = hidden.replace(secret, MASK)
    if hidden != plain:
        text = hidden
    return redact(text) if "callback" in text or "%" in text else text
