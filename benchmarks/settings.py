"""A site as ``startproject`` makes it, with this app and the rivals it is measured against."""

import os
from pathlib import Path
from typing import Any

import dj_database_url

SECRET_KEY = "benchmarks"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "testserver", "hooks.loja.com.br"]
USE_TZ = True
TIME_ZONE = "America/Sao_Paulo"
ROOT_URLCONF = "benchmarks.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"


def database(url: str) -> dict[str, Any]:
    # Connections that stay open: otherwise each request would mostly measure how long it takes to connect.
    config: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=None))
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        }
    return config


DATABASES = {"default": database(os.environ["DATABASE_URL"])}
if "LARGE_DATABASE_URL" in os.environ:
    DATABASES["large"] = database(os.environ["LARGE_DATABASE_URL"])
    DATABASE_ROUTERS = ["benchmarks.databases.Chosen"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_plugchat",
    "rest_framework",
    "anymail",
    "benchmarks.rivals",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
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
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    # What a wrong secret logs belongs to its time; where the line goes does not.
    "handlers": {"null": {"class": "logging.FileHandler", "filename": Path(os.devnull)}},
    "root": {"handlers": ["null"], "level": "WARNING"},
    "loggers": {"django": {"level": "INFO"}},
}
PLUGCHAT = {
    "ACCOUNTS": {
        "default": {"WEBHOOK_SECRETS": ["first-secret-of-the-default-account", "retiring-secret-of-the-account"]},
        "norte": {"WEBHOOK_SECRETS": ["first-secret-of-the-account-norte"]},
    },
    "PUBLIC_URL": "https://hooks.loja.com.br",
}
#: In place of PLUGCHAT for some of the measurements.
PLUGCHAT_WITH_MANY_ACCOUNTS = PLUGCHAT | {
    "ACCOUNTS": PLUGCHAT["ACCOUNTS"]  # type: ignore[operator]
    | {f"account-{n}": {"WEBHOOK_SECRETS": [f"secret-number-{n:04}-of-an-account"]} for n in range(998)}
}
ANYMAIL = {"WEBHOOK_SECRET": "anymail:first-secret-of-anymail"}
