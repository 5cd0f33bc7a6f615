"""A project's Celery, with the dispatcher that hands events to it."""

import os

from celery import Celery, shared_task

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings_queue")

app = Celery("tests", broker=os.environ["RABBITMQ_URL"])
app.conf.task_default_queue = os.environ.get("CELERY_QUEUE", "plugchat")
app.conf.task_acks_late = True
app.conf.broker_connection_retry_on_startup = True
if os.environ["RABBITMQ_URL"].startswith("redis"):
    app.conf.broker_transport_options = {"socket_timeout": 3, "socket_connect_timeout": 3}


@shared_task
def deliver(pk: int) -> None:
    from django_plugchat import dispatch

    dispatch.deliver(pk)


def dispatch(pk: int) -> None:
    deliver.delay(pk)
