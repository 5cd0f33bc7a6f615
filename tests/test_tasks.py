"""The default dispatcher on Django's Tasks framework, its backport, and nothing at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, logging, sys
options = json.loads(sys.argv[1])
for name in options["missing"]:
    sys.modules[name] = None
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django_plugchat"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    **options["settings"],
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import delivery_recorded
delivery_recorded.connect(lambda **kwargs: None, weak=False)
values = {"zaap_id": "A", "phone": "1", "type": "DeliveryCallback", "outcome": "sent", "payload": {}, "identity": []}
event = DeliveryEvent.objects.record(values, account="default", secret_id="x")
from django_plugchat import tasks
event.refresh_from_db()
print(json.dumps({"status": event.dispatch_status, "task": type(tasks.deliver_event).__name__}))
"""

FRAMEWORK = ["django.tasks", "django_tasks"]


@pytest.mark.parametrize(
    ("missing", "settings", "expected"),
    [
        ([], {}, {"status": "done", "task": "Task"}),
        (FRAMEWORK, {}, {"status": "done", "task": "function"}),
        (
            [],
            {"TASKS": {"default": {"BACKEND": "IMMEDIATE", "QUEUES": ["mail", "other"]}}},
            {"status": "done", "task": "Task"},
        ),
        ([], {"TASKS": {"default": {"BACKEND": "IMMEDIATE", "QUEUES": []}}}, {"status": "done", "task": "Task"}),
        ([], {"TASKS": {"slow": {"BACKEND": "IMMEDIATE", "QUEUES": ["mail"]}}}, {"status": "done", "task": "Task"}),
        ([], {"TASKS": {"default": {"BACKEND": "DUMMY"}}}, {"status": "pending", "task": "Task"}),
        ([], {"TASKS": {"default": {"BACKEND": "nowhere.Backend"}}}, {"status": "done", "task": "function"}),
    ],
)
def test_whatever_the_project_configures(missing, settings, expected):
    framework = "django.tasks"
    try:
        import django.tasks  # noqa: F401
    except ImportError:
        framework = "django_tasks"
    text = json.dumps({"missing": missing, "settings": settings})
    text = text.replace("IMMEDIATE", f"{framework}.backends.immediate.ImmediateBackend")
    text = text.replace("DUMMY", f"{framework}.backends.dummy.DummyBackend")
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, text], env=os.environ, stdout=subprocess.PIPE, timeout=60, check=True
    )
    assert json.loads(run.stdout) == expected
