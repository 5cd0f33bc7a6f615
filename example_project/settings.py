"""What differs between machines comes from the environment. Without any it is a development site on SQLite."""

import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

BASE_DIR = Path(__file__).resolve().parent.parent


def flag(name: str, default: str = "0") -> bool:
    return os.environ.get(name, default).strip().lower() in ("1", "true", "yes", "on")


def required(name: str, *, development: str) -> str:
    """A variable that has a default in development only."""
    value = os.environ.get(name, "").strip()
    if DEBUG:
        return value or development
    if value in ("", development):
        raise ImproperlyConfigured(f"Set {name}: with DJANGO_DEBUG off it has no default.")
    return value


def split(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


DEBUG = flag("DJANGO_DEBUG", default="1")
SECRET_KEY = required("DJANGO_SECRET_KEY", development="django-insecure-for-development-only")
ALLOWED_HOSTS = split(required("DJANGO_ALLOWED_HOSTS", development="localhost,127.0.0.1,[::1],plugchat.example"))

PLUGCHAT = {
    "ACCOUNTS": {
        "default": {
            "TOKEN": required("PLUGCHAT_TOKEN", development=""),
            # Separated by commas, to rotate them: the first is registered, every one is accepted.
            "WEBHOOK_SECRETS": split(
                required("PLUGCHAT_WEBHOOK_SECRETS", development="webhook-secret-for-development-only")
            ),
            "LABEL": os.environ.get("PLUGCHAT_LABEL", "Loja Centro"),
        },
    },
    "PUBLIC_URL": required("PLUGCHAT_PUBLIC_URL", development="https://plugchat.example"),
    # Keeps callbacks while the database is away: of each host its own, on a disk that outlives the process.
    "SPOOL_DIR": os.environ.get("PLUGCHAT_SPOOL_DIR", str(BASE_DIR / "spool")),
}

# Each engine gives up on what hangs, so that a callback is answered 503 in time and the provider can send it again.
DATABASE_OPTIONS: dict[str, dict[str, Any]] = {
    "django.db.backends.sqlite3": {
        # Writers take turns from the start of a transaction, each waiting for the others, instead of failing halfway.
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,
        # WAL lets readers read meanwhile; FULL makes what was answered 200 survive a power cut.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
    },
    "django.db.backends.postgresql": {
        # Not through PgBouncer, which refuses them: set both by ALTER ROLE there.
        "options": "-c lock_timeout=5000 -c statement_timeout=10000",
        "connect_timeout": 5,
        "tcp_user_timeout": 10000,
    },
    "django.db.backends.mysql": {
        "init_command": "SET innodb_lock_wait_timeout=5, lock_wait_timeout=5",
        "connect_timeout": 5,
        "read_timeout": 10,
        "write_timeout": 10,
    },
}
DATABASE: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}
if os.environ.get("DATABASE_URL"):
    import dj_database_url  # not needed without: the demo installs the app alone

    # Under ASGI none is kept: see asgi.py.
    conn_max_age = int(os.environ.get("DJANGO_CONN_MAX_AGE", "60"))
    DATABASE = dict(dj_database_url.config(conn_max_age=conn_max_age, conn_health_checks=True))
# A URL's own options win.
DATABASE["OPTIONS"] = DATABASE_OPTIONS.get(DATABASE["ENGINE"], {}) | DATABASE.get("OPTIONS", {})
DATABASES = {"default": DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_plugchat",
    "example_project.shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

LANGUAGE_CODE = os.environ.get("DJANGO_LANGUAGE_CODE", "en")
LANGUAGES = [("en", _("English")), ("pt-br", _("Brazilian Portuguese"))]
LOCALE_PATHS = [BASE_DIR / "example_project" / "locale"]
TIME_ZONE = "America/Sao_Paulo"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = os.environ.get("DJANGO_STATIC_ROOT", BASE_DIR / "build" / "static")

if DEBUG:
    # PUBLIC_URL is nobody's host: nothing is registered from here.
    SILENCED_SYSTEM_CHECKS = ["django_plugchat.W008"]
else:
    SECURE_SSL_REDIRECT = True
    # A redirect would lose the callback, also one that came by HTTPS to a proxy that doesn't say so.
    SECURE_REDIRECT_EXEMPT = [r"^plugchat/callback/"]
    SECURE_HSTS_SECONDS = 3600
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    # Whether the domain's other hosts speak HTTPS isn't this site's to say.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
    if flag("DJANGO_BEHIND_PROXY"):
        # The proxy must set this header itself, whatever the client sent.
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"redact": {"()": "django_plugchat.redaction.RedactingFilter"}},
    "formatters": {
        "plain": {"format": "{levelname} {name}: {message}", "style": "{"},
        "server": {"()": "django.utils.log.ServerFormatter", "format": "[{server_time}] {message}", "style": "{"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "filters": ["redact"], "formatter": "plain"},
        "server": {"class": "logging.StreamHandler", "filters": ["redact"], "formatter": "server"},
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        # Without Django's own handlers: the root's takes what they would, with DEBUG off too.
        "django": {"level": "INFO"},
        "django.tasks": {"level": "WARNING"},
        "django.server": {"handlers": ["server"], "level": "INFO", "propagate": False},
        "django.db.backends": {"level": "DEBUG" if flag("DJANGO_LOG_SQL") else "INFO"},
    },
}
