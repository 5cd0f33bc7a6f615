from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import Error, OperationalError, connection, transaction

from django_plugchat import accounts
from django_plugchat.conf import Caller, digest_of, secret_id
from django_plugchat.models import Account, WebhookSecret

from .payloads import EXAMPLE, SECRET, url_of

pytestmark = pytest.mark.django_db


def added(alias: str = "filial", **options: Any) -> str:
    accounts.add(alias, **options)
    return accounts.new_secret(alias)


def caller(secret: str) -> Caller | None:
    return accounts.caller(digest_of(secret))


@pytest.fixture
def clock(monkeypatch):
    """Moves the clock that says how old knowledge is."""
    now = [1_000_000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


@pytest.fixture
def selects(django_assert_max_num_queries):
    """At most so many reads, savepoints of the test's own transaction aside."""

    def at_most(count: int) -> Any:
        return django_assert_max_num_queries(3 * count)

    return at_most


class Away:
    """A database that fails, as long as it is inside."""

    def __enter__(self):
        self.asked = 0
        self.wrapper = connection.execute_wrapper(self.fail)
        return self.wrapper.__enter__() or self

    def __exit__(self, *error):
        self.wrapper.__exit__(*error)

    def fail(self, *args):
        self.asked += 1
        raise OperationalError("the server closed the connection")


# Who calls


def test_a_secret_of_the_settings_costs_no_statement(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert caller(SECRET) == Caller("default", secret_id(SECRET))


def test_a_secret_of_the_database_is_read_once_in_half_a_minute(clock, selects):
    secret = added()
    clock(1)
    with selects(1):
        assert caller(secret) == Caller("filial", secret_id(secret))
        clock(29)
        assert caller(secret)
    clock(2)
    with selects(1):
        assert caller(secret)
        assert caller(secret)


def test_a_callback_of_an_account_of_the_database_is_stored(post):
    assert post(EXAMPLE, url=url_of(added())).json() == {"status": "recorded"}
