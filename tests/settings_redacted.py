"""tests.settings with the redacting filter on the log of Django's own server, as the README says."""

from tests.settings import *  # noqa: F403

LOGGING = {
    "version": 1,
    "filters": {"redact": {"()": "django_plugchat.redaction.RedactingFilter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["redact"]}},
    "loggers": {"django.server": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
