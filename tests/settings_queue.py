"""tests.settings with the queue of QUEUE, and a receiver that writes what it hears to the file HEARD."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, PLUGCHAT

QUEUE = os.environ["QUEUE"]
INSTALLED_APPS = [*INSTALLED_APPS, "tests.listener"]
PLUGCHAT = PLUGCHAT | {"DISPATCH_LEASE": float(os.environ.get("DISPATCH_LEASE", "300"))}
if "SPOOL_DIR" in os.environ:
    PLUGCHAT["SPOOL_DIR"] = os.environ["SPOOL_DIR"]
TIMEOUTS = {
    "django.db.backends.sqlite3": {"timeout": 2},
    "django.db.backends.postgresql": {
        "connect_timeout": 2,
        "options": "-c lock_timeout=2000 -c statement_timeout=4000",
    },
    "django.db.backends.mysql": {"connect_timeout": 2, "init_command": "SET innodb_lock_wait_timeout = 2"},
}
DATABASES["default"].setdefault("OPTIONS", {}).update(TIMEOUTS[DATABASES["default"]["ENGINE"]])
if "POOLED" in os.environ:
    # PgBouncer refuses them.
    del DATABASES["default"]["OPTIONS"]["options"]
# As in production: connections outlive requests, and die while idle.
DATABASES["default"]["CONN_MAX_AGE"] = 60
if "POOL" in os.environ:
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 4}
    DATABASES["default"]["CONN_MAX_AGE"] = 0

if "CACHEOPS" in os.environ:
    # A cache of all our querysets, which the package does not clear when rows are updated by one.
    INSTALLED_APPS = ["cacheops", *INSTALLED_APPS]
    CACHEOPS_REDIS = os.environ["REDIS_URL"]
    CACHEOPS = {"django_plugchat.*": {"ops": "all", "timeout": 600}}

if QUEUE == "rq":
    INSTALLED_APPS = [*INSTALLED_APPS, "django_rq", "django_tasks_rq"]
    TASKS = {"default": {"BACKEND": "django_tasks_rq.RQBackend", "QUEUES": ["plugchat"]}}
    RQ_QUEUES = {"plugchat": {"URL": os.environ["REDIS_URL"]}}
elif QUEUE == "db":
    INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
elif QUEUE == "celery":
    PLUGCHAT = PLUGCHAT | {"DISPATCHER": "tests.celery_app.dispatch"}
