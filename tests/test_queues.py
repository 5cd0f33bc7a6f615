"""The whole way over real queues: a web process stores, a worker process of its own tells the receivers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from django_plugchat.models import DeliveryEvent

from .conftest import EXAMPLE, URL
from .servers import gunicorn, process, test_database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]

WORKERS = {
    "rq": ["django", "rqworker", "--job-class", "django_tasks_rq.Job", "plugchat"],
    "db": ["django", "db_worker", "--no-reload"],
    "celery": ["celery", "--app", "tests.celery_app", "worker", "--pool", "solo", "--loglevel", "WARNING"],
}


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It did not happen."
        time.sleep(0.1)


def heard(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("queue", WORKERS)
def test_from_callback_to_receiver(tmp_path, queue):
    heard_file = tmp_path / "heard"
    environ = {
        "DJANGO_SETTINGS_MODULE": "tests.settings_queue",
        "QUEUE": queue,
        "HEARD": str(heard_file),
        "CELERY_QUEUE": f"plugchat-{uuid.uuid4().hex}",
        "REDIS_URL": os.environ["REDIS_URL"],
        "RABBITMQ_URL": os.environ["RABBITMQ_URL"],
        "DATABASE_URL": test_database_url(),
    }
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "-v0"], env=os.environ | environ, check=True, timeout=120
    )
    with ExitStack() as stack:
        base, _web = stack.enter_context(gunicorn(tmp_path / "web", "--workers", "2", **environ))
        for n in range(10):
            assert requests.post(base + URL, json=EXAMPLE | {"zaapId": f"before-{n}"}).json() == {"status": "recorded"}
        assert set(DeliveryEvent.objects.values_list("dispatch_status", flat=True)) == {"pending"}
        assert heard(heard_file) == []
        stack.enter_context(process(*WORKERS[queue], log=tmp_path / "worker", **environ))
        for n in range(10):
            assert requests.post(base + URL, json=EXAMPLE | {"zaapId": f"after-{n}"}).json() == {"status": "recorded"}
        wait_until(lambda: DeliveryEvent.objects.filter(dispatch_status="done").count() == 20)
    assert sorted(heard(heard_file)) == sorted(f"{when}-{n}" for when in ("before", "after") for n in range(10))
    assert set(DeliveryEvent.objects.values_list("dispatch_attempts", flat=True)) == {1}
