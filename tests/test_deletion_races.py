"""Deleting while callbacks come for the same rows: neither fails."""

import json
import threading
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client

from django_plugchat.models import DeliveryEvent

from .payloads import URL

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time"),
]

PHONE = "5544999999999"
IDS = [f"message-{number}" for number in range(200)]


class Poster(threading.Thread):
    """Says the same of the same messages again and again, in an order of its own, until it is stopped."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.body = json.dumps({"type": "MessageStatusCallback", "phone": PHONE, "status": "READ", "ids": IDS[::step]})
        self.answers: set[int] = set()
        self.going = True

    def run(self) -> None:
        client = Client()
        while self.going:
            self.answers.add(client.post(URL, self.body, content_type="application/json").status_code)
        connections.close_all()


@pytest.mark.parametrize(
    ("arguments", "times"),
    [(("plugchat_prune", "--days=0", "--include-pending"), 8), (("plugchat_forget", PHONE), 1)],
    ids=["prune", "forget"],
)
def test_repeated_statuses_beside_a_deletion(arguments, times):
    posters = [Poster(step) for step in (1, -1, 2)]
    for poster in posters:
        poster.start()
    try:
        for _time in range(times):
            call_command(*arguments, stdout=StringIO())
    finally:
        for poster in posters:
            poster.going = False
        for poster in posters:
            poster.join()
    assert set().union(*(poster.answers for poster in posters)) == {200}
    call_command(*arguments, stdout=StringIO())
    assert DeliveryEvent.objects.count() == 0
