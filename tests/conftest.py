from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import translation

SECRET = "first-secret-of-the-default-account"
URL = f"/plugchat/callback/{SECRET}/"

#: The provider's own example.
EXAMPLE = {
    "phone": "554499999999",
    "customId": "123",
    "zaapId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "messageId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "type": "DeliveryCallback",
}


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix, tmp_path_factory):
    """SQLite's test database is a file, for tests with threads and processes; each run has its own."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = tmp_path_factory.mktemp("database") / "test.sqlite3"


@pytest.fixture(autouse=True)
def english():
    """Whatever language a request of the test before was in."""
    with translation.override("en"):
        yield


@pytest.fixture
def plugchat(settings):
    """Change keys of the PLUGCHAT setting for one test."""

    def change(**changes: Any) -> None:
        settings.PLUGCHAT = settings.PLUGCHAT | changes

    return change


@pytest.fixture
def post():
    client = Client(enforce_csrf_checks=True)

    def post(body: Any, url: str = URL, **extra: Any) -> Any:
        return client.post(url, body, content_type=extra.pop("content_type", "application/json"), **extra)

    return post
