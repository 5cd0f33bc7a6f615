"""What a project may set, and what must not break the view for it."""

import json
import os
import subprocess
import sys

import pytest

from django_plugchat.models import DeliveryEvent

from .hostile import Reached, Renderer, Router, handle_exception
from .hostile_project import HOSTILE

ANSWERS = {
    "unknown secret": [404, {"detail": "Not found."}],
    "below": [404, {"detail": "Not found."}],
    "method": [405, 405],
    "content type": 415,
    "too large": 413,
    "ignored": [200, {"status": "ignored"}],
    "refused": 400,
    "unusable": 400,
    "new": [200, {"status": "recorded"}],
    "again": [200, {"status": "duplicate"}],
    "compressed": [200, {"status": "recorded"}],
    "status": [200, {"status": "recorded"}],
    "status again": [200, {"status": "duplicate"}],
    "events": [[2, "sent"], [1, "sent"], [2, "read"], [2, "read"]],
    "occurred": "2026-04-29T20:21:31.684000+00:00",
    "rejected": ["not_json", "invalid"],
    "statements": 1,
    "statements with a receiver": 2,
    "kept while the database failed": 1,
    "replayed": ["replayed"],
    "replayed again": True,
    "dispatched again": 6,
    "receivers ran in a transaction": [False] * 2,
    "told again": [8, 7],
    "done": 7,
    "progress": {"3E50A454522970E8FF33FA2035A79316": "read"},
    "story": 2,
    "figures": [2, 0],
    "forgotten": 0,
    "pruned": [0, 0],
}
TOGETHER = [name for name in HOSTILE if name != "no other apps"]


#: That one of them does not hide another's effect: each by itself, by night.
ALONE = [pytest.param([name], "0", id=name, marks=pytest.mark.nightly) for name in TOGETHER]


@pytest.mark.parametrize(
    ("names", "debug"),
    [
        *ALONE,
        pytest.param(["no other apps"], "0", id="no other apps"),
        pytest.param(TOGETHER, "0", id="all of them"),
        pytest.param(TOGETHER, "1", id="all of them with DEBUG"),
    ],
)
def test_settings_that_must_not_break_the_view(names, debug):
    # A process of its own: DRF reads its defaults when it is imported.
    run = subprocess.run(
        [sys.executable, "-m", "tests.hostile_project", *names],
        env=os.environ | {"DEBUG": debug},
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
    )
    local_time = {"occurred": "2026-04-29T17:21:31.684000"} if "time zones off" in names else {}
    assert json.loads(run.stdout) == ANSWERS | local_time


def test_the_hostile_parts_would_break_it():
    with pytest.raises(Reached):
        Renderer()
    with pytest.raises(Reached):
        handle_exception(Exception(), {})
    with pytest.raises(Reached):
        Router().db_for_read(DeliveryEvent)
