"""The default dispatcher on Django's Tasks framework, its backport, and nothing at all."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from django_plugchat import tasks
from django_plugchat.signals import TellAgain

from .receivers import Receiver, connected
from .waiting import due

FRAMEWORK = tasks.framework.__name__
IMMEDIATE = f"{FRAMEWORK}.backends.immediate.ImmediateBackend"
NO_FRAMEWORK = ["django.tasks", "django_tasks"]
DUMMY = f"{FRAMEWORK}.backends.dummy.DummyBackend"


def tasks_setting(backend: str, alias: str = "default", **options: Any) -> dict[str, Any]:
    return {"TASKS": {alias: {"BACKEND": backend} | options}}


def run(**asked: Any) -> dict[str, Any]:
    asked = {"missing": [], "settings": {}, "later": {}, "fails": False, "in_transaction": False} | asked
    process = subprocess.run(
        [sys.executable, "-m", "tests.bare_project", json.dumps(asked)],
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(process.stdout)
    return answer


@pytest.mark.parametrize(
    ("missing", "settings", "task"),
    [
        ([], {}, "Task"),
        (NO_FRAMEWORK, {}, "function"),
        ([], tasks_setting(IMMEDIATE, QUEUES=["mail", "other"]), "Task"),
        ([], tasks_setting(IMMEDIATE, QUEUES=[]), "Task"),
        ([], tasks_setting(IMMEDIATE, alias="slow", QUEUES=["mail"]), "Task"),
    ],
)
def test_what_would_run_inside_the_request_is_claimed_by_the_insert(missing, settings, task):
    assert run(missing=missing, settings=settings) == {"status": "done", "statements": 2, "task": task, "logged": []}


@pytest.mark.parametrize("missing", [[], NO_FRAMEWORK])
def test_after_somebody_elses_transaction_the_dispatcher_is_called(missing):
    answer = run(missing=missing, in_transaction=True)
    assert answer["status"] == "done"
    # The transaction's two and a savepoint's two around the INSERT; then claim, event, outcome.
    assert answer["statements"] == 8


def test_a_setting_that_can_not_be_used():
    """An error when the project starts; receivers run inside the request all the same."""
    answer = run(settings=tasks_setting("nowhere.Backend"))
    assert answer == {"status": "done", "statements": 2, "task": "function", "logged": ["django_plugchat.tasks ERROR"]}


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (tasks_setting(DUMMY), "pending"),
        # A project's own kind of the immediate backend may do more, or run elsewhere.
        (tasks_setting("tests.backends.Traced"), "done"),
        ({"PLUGCHAT": {"DISPATCHER": "django_plugchat.dispatch.deliver"}}, "done"),
    ],
)
def test_all_else_goes_through_the_dispatcher(settings, status):
    answer = run(settings=settings)
    assert (answer["status"], answer["statements"]) == (status, 1 if status == "pending" else 4)


def test_settings_that_change_after_the_start():
    """As ``override_settings`` in a project's tests: the task's backend is there no longer, and the event is kept."""
    answer = run(later=tasks_setting(IMMEDIATE, alias="other"))
    assert (answer["status"], answer["statements"]) == ("pending", 1)
    assert answer["logged"] == ["django_plugchat.dispatch ERROR"]


@pytest.mark.parametrize("fails", [False, True])
def test_the_framework_sees_a_failure(fails):
    answer = run(settings=tasks_setting("tests.backends.Traced"), fails=fails)
    assert answer["status"] == ("retrying" if fails else "done")
    assert (f"{FRAMEWORK} ERROR" in answer["logged"]) == fails


@pytest.mark.django_db
@pytest.mark.parametrize("receiver", [Receiver(), Receiver(TellAgain())])
def test_the_task_of_an_attempt_that_did_not_fail_ends(receiver):
    row = due()
    with connected(receiver):
        assert tasks.tell_receivers.call(row.pk) is None
        # There is nothing to do.
        assert tasks.tell_receivers.call(row.pk) is None
