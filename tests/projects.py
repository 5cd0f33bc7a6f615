"""A project with a web server, a queue and a receiver, as processes of their own."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from .receivers import heard
from .servers import gunicorn, process

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


class Project:
    """``tests.settings_queue`` on a database; ``queue`` is one of WORKERS, or "inline"."""

    def __init__(self, directory: Path, database_url: str, queue: str = "inline", **environ: str) -> None:
        self.directory, self.queue = directory, queue
        self.environ = {
            "DJANGO_SETTINGS_MODULE": "tests.settings_queue",
            "DATABASE_URL": database_url,
            "QUEUE": queue,
            "CELERY_QUEUE": f"plugchat-{uuid.uuid4().hex}",
            "HEARD": str(directory / "heard"),
        } | environ
        self.manage("migrate", "-v0")

    def manage(self, *arguments: str, check: bool = True) -> str:
        run = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            env=os.environ | self.environ,
            stdout=subprocess.PIPE,
            check=check,
            timeout=120,
        )
        return run.stdout.decode()

    def web(self, *options: str, workers: int = 2) -> AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]:
        return gunicorn(self.directory / "web", "--workers", str(workers), *options, **self.environ)

    def worker(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return process(*WORKERS[self.queue], log=self.directory / "worker", **self.environ)

    def heard(self) -> list[str]:
        return heard(self.directory / "heard")

    def events(self) -> list[dict[str, Any]]:
        rows = json.loads(self.manage("dumpdata", "django_plugchat.deliveryevent"))
        return [row["fields"] for row in rows]

    def states(self) -> Counter[str]:
        return Counter(event["dispatch_status"] for event in self.events())

    def sweep_until_all_is_told(self) -> None:
        def told() -> bool:
            # It fails while an attempt does.
            self.manage("plugchat_redispatch", check=False)
            return set(self.states()) <= {"done"}

        wait_until(told, 90)
