import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import translation

from django_plugchat import accounts

from . import dispatchers
from .payloads import URL
from .people import person


def pytest_configure() -> None:
    """What a shell starts in the background ignores SIGINT, and so would the servers that tests start and interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix, tmp_path_factory):
    """SQLite's test database is a file, for tests with threads and processes; each run has its own."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = tmp_path_factory.mktemp("database") / "test.sqlite3"


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Whatever language a request of the test before was in."""
    with translation.override("en"):
        yield


@pytest.fixture(autouse=True)
def no_accounts_of_other_tests() -> None:
    """A process believes for 30 seconds what it has read of the accounts in the database."""
    accounts.forget()


@pytest.fixture
def plugchat(settings: Any) -> Callable[..., None]:
    """Change keys of the PLUGCHAT setting for one test."""

    def change(**changes: Any) -> None:
        settings.PLUGCHAT = settings.PLUGCHAT | changes

    return change


@pytest.fixture
def viewer(db: None) -> Client:
    """Somebody who may see messages and refused callbacks, and no whole phone number."""
    return person("view_deliveryevent", "view_rejectedcallback")


@pytest.fixture
def trusted(db: None) -> Client:
    """Somebody who may see the numbers, too."""
    return person("view_deliveryevent", "view_rejectedcallback", "view_phone")


@pytest.fixture
def use(plugchat: Callable[..., None]) -> Callable[..., None]:
    """Make a function the dispatcher. The queue of ``tests.dispatchers`` is empty at first."""

    dispatchers.queue.clear()

    def use(dispatcher: Callable[[Any], None], **changes: Any) -> None:
        plugchat(DISPATCHER=f"{dispatcher.__module__}.{dispatcher.__name__}", **changes)

    return use


@pytest.fixture
def into_queue(use: Callable[..., None]) -> list[Any]:
    """The keys of the events that the dispatcher has put into a queue."""
    use(dispatchers.into_queue)
    return dispatchers.queue


@pytest.fixture
def post() -> Callable[..., Any]:
    """Post a callback: bytes and texts as they are, all else as JSON."""
    client = Client(enforce_csrf_checks=True)

    def post(body: Any, url: str = URL, **extra: Any) -> Any:
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        return client.post(url, content, content_type=extra.pop("content_type", "application/json"), **extra)

    return post
