"""``python -m tests.bare_project JSON``: an event in a project with nothing but the app, and one receiver.

``JSON`` has ``missing``, modules that are not installed; ``settings``; ``later``, settings that change after the start;
``fails``, whether the receiver raises; ``in_transaction``, whether the event is stored in one. Prints as JSON what
became of the event, in how many statements, and what was logged.
"""

import json
import logging
import sys
from contextlib import nullcontext
from typing import Any

logged: set[str] = set()


def start(missing: list[str], options: dict[str, Any]) -> None:
    for name in missing:
        sys.modules[name] = None  # type: ignore[assignment]

    from django.conf import settings

    settings.configure(
        INSTALLED_APPS=["django_plugchat"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        LOGGING_CONFIG=None,
        **options,
    )

    import django
    from django.core.management import call_command

    handler = logging.Handler()
    handler.emit = lambda record: logged.add(f"{record.name} {record.levelname}")  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    django.setup()
    call_command("migrate", verbosity=0)


def post(later: dict[str, Any], fails: bool, in_transaction: bool) -> dict[str, Any]:
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext, override_settings

    from django_plugchat import recording, serializers, tasks
    from django_plugchat.models import DeliveryEvent
    from django_plugchat.signals import delivery_recorded

    def receiver(**kwargs: Any) -> None:
        if fails:
            raise ValueError

    delivery_recorded.connect(receiver)
    callbacks = serializers.read(b'{"phone": "1", "zaapId": "A", "type": "DeliveryCallback"}')
    around = transaction.atomic() if in_transaction else nullcontext()
    with override_settings(**later), CaptureQueriesContext(connection) as captured, around:
        recording.record(callbacks, recording.Receipt("default", "x"))
    event = DeliveryEvent.objects.get()
    return {
        "status": event.dispatch_status,
        "statements": len(captured),
        "task": type(tasks.tell_receivers).__name__,
        "logged": sorted(logged),
    }


asked = json.loads(sys.argv[1])
start(asked["missing"], asked["settings"])
print(json.dumps(post(asked["later"], asked["fails"], asked["in_transaction"])))  # noqa: T201
