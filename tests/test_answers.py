"""``answers.ANSWERS`` says what the view does: each row, in the order in which they are decided."""

import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from django_plugchat.models import DeliveryEvent, RejectedCallback

from .answers import ANSWERS
from .databases import Interrupt, raising
from .payloads import EXAMPLE, URL, url_of

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Request:
    """A callback that is recorded, unless something is changed."""

    url: str = URL
    method: str = "POST"
    content_type: str = "application/json"
    body: bytes = json.dumps(EXAMPLE).encode()
    length: Callable[[bytes], str] = field(default=lambda body: str(len(body)))
    database: Callable[[], AbstractContextManager[Any]] = nullcontext

    def send(self) -> Any:
        environ = {
            "wsgi.input": io.BufferedReader(io.BytesIO(self.body)),  # type: ignore[type-var]
            "CONTENT_TYPE": self.content_type,
            "CONTENT_LENGTH": self.length(self.body),
        }
        with self.database():
            return Client().generic(self.method, self.url, **environ)


def failing_database() -> AbstractContextManager[Any]:
    return connection.execute_wrapper(Interrupt("", raising(OperationalError())))


#: What leads to the answer in the same place of ANSWERS, those of a database that fails for the end.
CAUSES: list[dict[str, Any]] = [
    {"url": url_of("wrong")},
    {"method": "PUT"},
    {"content_type": "text/plain"},
    {"length": lambda body: "70000"},
    {"length": lambda body: ""},
    {"length": lambda body: str(len(body) + 1)},
    {"body": b'{"type": "ReceivedCallback"}'},
    {"body": b'{"type": "MessageStatusCallback", "status": "TO_COME", "ids": ["1"]}'},
    {"body": b"{"},
    {},
    {},
    {"database": failing_database},
    {"database": failing_database},
]
NEW, AGAIN, KEPT = (
    next(row for row, answer in enumerate(ANSWERS) if answer.body == body) for body in ("recorded", "duplicate", "kept")
)
#: A spool is not asked before a database has failed.
WITHOUT_SPOOL = [row for row in range(len(ANSWERS)) if row != KEPT]


@pytest.mark.parametrize("row", range(len(ANSWERS)), ids=lambda row: ANSWERS[row].case)
def test_each_row(row, plugchat, tmp_path):
    answer = ANSWERS[row]
    if row == KEPT:
        plugchat(SPOOL_DIR=str(tmp_path))
    assert row != AGAIN or Request().send().status_code == 200
    before = list(DeliveryEvent.objects.values())
    response = Request(**CAUSES[row]).send()
    assert response.status_code == answer.status
    assert response.json().get("status", "") == answer.body
    stored = {
        "nothing": (0, 0, 0),
        "a rejected callback": (0, 1, 0),
        "an event": (1, 0, 0),
        "counted on the event": (1, 0, 0),
        "a file": (0, 0, 1),
    }
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    found = DeliveryEvent.objects.count(), RejectedCallback.objects.count(), len(files)
    assert found == stored[answer.stored]
    assert (list(DeliveryEvent.objects.values()) != before) == (row in (NEW, AGAIN))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (first, second)
        for first, second in combinations(WITHOUT_SPOOL, 2)
        # Whose a secret is can't be known without a database: that is the last row, or 404 where it was asked before.
        if not CAUSES[first].keys() & CAUSES[second].keys() and (first, second) != (0, len(ANSWERS) - 1)
    ],
)
def test_the_order_in_which_they_are_decided(first, second):
    """Where two rows apply the upper one answers; a database is asked, and may fail, only where something is stored."""
    decides = second if second == len(ANSWERS) - 1 and ANSWERS[first].stored != "nothing" else first
    assert Request(**CAUSES[first] | CAUSES[second]).send().status_code == ANSWERS[decides].status
