"""The one way secrets, tokens, and the numbers in this app's own URLs leave a text, a URL, a request, a log record."""

from django_plugchat.phones.numbers import MASK
from django_plugchat.redaction.reports import RedactingFilter, before_send, hide_secret, protect_django_logs
from django_plugchat.redaction.texts import mask_url, redact

__all__ = ["MASK", "RedactingFilter", "before_send", "hide_secret", "mask_url", "protect_django_logs", "redact"]
