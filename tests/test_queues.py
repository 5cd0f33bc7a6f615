"""The whole way over real queues: a web process stores, a worker process of its own tells the receivers."""

import os

import pytest
import requests
from django.db import connection

from django_plugchat.models import DeliveryEvent

from .faults import Redis
from .payloads import EXAMPLE, URL
from .projects import Project, wait_until
from .servers import test_database_url
from .waiting import make_due

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


def failed_in_rq(project: Project) -> int:
    import redis
    from rq.registry import FailedJobRegistry

    with redis.Redis.from_url(project.environ["REDIS_URL"]) as client:
        return FailedJobRegistry("plugchat", connection=client).count


def failed_in_the_database(project: Project) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_tasks_database_dbtaskresult WHERE status = 'FAILED'")
        (failed,) = cursor.fetchone()
    return int(failed)


#: How many tasks the framework says have failed. Celery is not this app's: a project's own task decides there.
FAILED = {"rq": failed_in_rq, "db": failed_in_the_database, "celery": lambda project: 4}


@pytest.fixture
def redis_server():
    server = Redis()
    yield server
    server.stop()


def attempted(status: str, attempts: int) -> int:
    return DeliveryEvent.objects.filter(dispatch_status=status, dispatch_attempts=attempts).count()


@pytest.mark.parametrize(
    ("queue", "environ"),
    [pytest.param("rq", {"CACHEOPS": "1"}, id="rq, beside a cache of querysets"), ("db", {}), ("celery", {})],
)
def test_from_callback_to_receiver(tmp_path, redis_server, queue, environ):
    """Before a worker runs and after; an attempt fails, its task too, and a sweep queues the event again."""
    project = Project(
        tmp_path,
        test_database_url(),
        queue,
        RECEIVER="raises the first time",
        REDIS_URL=redis_server.url,
        RABBITMQ_URL=os.environ["RABBITMQ_URL"],
        **environ,
    )
    names = ["before-1", "before-2", "after-1", "after-2"]
    with project.web(workers=1) as (base, _master):
        for name in names[:2]:
            assert requests.post(base + URL, json=EXAMPLE | {"zaapId": name}).json() == {"status": "recorded"}
        assert attempted("pending", 0) == 2
        with project.worker():
            for name in names[2:]:
                assert requests.post(base + URL, json=EXAMPLE | {"zaapId": name}).json() == {"status": "recorded"}
            wait_until(lambda: attempted("retrying", 1) == 4)
            wait_until(lambda: FAILED[queue](project) == 4)
            assert project.heard() == []
            make_due()
            assert "4" in project.manage("plugchat_redispatch")
            wait_until(lambda: attempted("done", 2) == 4)
    assert sorted(project.heard()) == sorted(names)
    assert FAILED[queue](project) == 4
