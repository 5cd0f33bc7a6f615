"""The one way secrets, tokens, and the numbers in this app's own URLs leave a text, a URL, a request, a log record."""

from django_plugchat.phones.numbers import MASK
from django_plugchat.redaction.paths import hide_secret
from django_plugchat.redaction.records import RedactingFilter, protect_django_logs
from django_plugchat.redaction.sentry import before_send
from django_plugchat.redaction.texts import mask_url, redact

__all__ = ["MASK", "RedactingFilter", "before_send", "hide_secret", "mask_url", "protect_django_logs", "redact"]
