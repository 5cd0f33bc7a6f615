"""``python -m tests.hostile_project NAME…``: callbacks through a project with these settings of ``HOSTILE``.

Runs on the database of DATABASE_URL and prints the answers and what was stored as JSON.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.conf import settings


def _rest_framework(name: str, value: Any) -> dict[str, Any]:
    return {"REST_FRAMEWORK": {name: value}}


HOSTILE: dict[str, dict[str, Any]] = {
    "authentication": _rest_framework("DEFAULT_AUTHENTICATION_CLASSES", ["tests.hostile.Authentication"]),
    "user": _rest_framework("UNAUTHENTICATED_USER", "tests.hostile.User"),
    "permissions": _rest_framework("DEFAULT_PERMISSION_CLASSES", ["tests.hostile.Permission"]),
    "parsers": _rest_framework("DEFAULT_PARSER_CLASSES", ["tests.hostile.Parser"]),
    "renderers": _rest_framework("DEFAULT_RENDERER_CLASSES", ["tests.hostile.Renderer"]),
    "negotiation": _rest_framework("DEFAULT_CONTENT_NEGOTIATION_CLASS", "tests.hostile.ContentNegotiation"),
    "throttles": _rest_framework("DEFAULT_THROTTLE_CLASSES", ["tests.hostile.Throttle"]),
    "versioning": _rest_framework("DEFAULT_VERSIONING_CLASS", "tests.hostile.Versioning"),
    "exception handler": _rest_framework("EXCEPTION_HANDLER", "tests.hostile.handle_exception"),
    "atomic requests": {"ATOMIC": True},
    "time zones off": {"USE_TZ": False},
    "router": {"DATABASE_ROUTERS": ["tests.hostile.Router"]},
    "no other apps": {
        "INSTALLED_APPS": ["django_plugchat"],
        "MIDDLEWARE": [],
        "ROOT_URLCONF": "tests.urls_alone",
    },
}


def configure(names: list[str], debug: bool) -> None:
    """Set up Django as in tests.settings, with these hostile settings; both databases exist and are empty."""
    from tests import settings as base

    options = {name: getattr(base, name) for name in dir(base) if name.isupper()}
    atomic = False
    for name in names:
        for key, value in HOSTILE[name].items():
            if key == "ATOMIC":
                atomic = True
            else:
                options[key] = options.get("REST_FRAMEWORK", {}) | value if key == "REST_FRAMEWORK" else value
    default = options["DATABASES"]["default"]
    # Not the name of the database of the tests that run this.
    default = default | {"ATOMIC_REQUESTS": atomic, "NAME": f"{default['NAME']}_hostile"}
    other = default | {"NAME": f"{default['NAME']}_other"}
    if "sqlite3" in default["ENGINE"]:
        default, other = default | {"TEST": {}}, other | {"TEST": {}}
    options["DATABASES"] = {"default": default, "other": other}
    settings.configure(**options, DEBUG=debug)

    import django

    django.setup()


def run() -> dict[str, Any]:
    from django.core.management import call_command
    from django.db import OperationalError, connections, router, transaction
    from django.test import Client
    from django.test.utils import CaptureQueriesContext, setup_test_environment
    from django.utils import timezone

    from django_plugchat import dispatch
    from django_plugchat.models import DeliveryEvent, RejectedCallback
    from django_plugchat.signals import delivery_recorded
    from django_plugchat.status import statuses
    from tests.conftest import EXAMPLE, URL

    setup_test_environment(debug=settings.DEBUG)
    for connection in connections.all():
        connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        client = Client(enforce_csrf_checks=True, headers={"accept": "text/html"})
        live = EXAMPLE | {"momment": 1777494091684}

        def post(body: Any, url: str = URL, content_type: str = "application/json") -> Any:
            response = client.post(url, body, content_type=content_type)
            return [response.status_code, response.json()]

        database = connections[router.db_for_write(DeliveryEvent)]
        events = DeliveryEvent.objects.using(database.alias)
        refused = RejectedCallback.objects.using(database.alias)
        with CaptureQueriesContext(database) as captured:
            new = post(live, URL[:-1])
        answers = {
            "new": new,
            "statements": len(captured),
            "unknown secret": post(live, "/plugchat/callback/wrong"),
            "below": post(live, "/plugchat/callback/a/b"),
            "method": [client.get(URL).status_code, client.options(URL).status_code],
            "content type": post("a", content_type="text/plain")[0],
            "too large": post("[" * 70_000)[0],
            "ignored": post({"type": "ReceivedCallback"}),
            "refused": post("{")[0],
            "unusable": post({"type": "DeliveryCallback"})[0],
            "again": post(live),
            "events": list(events.values_list("times_received", "outcome")),
            "occurred": events.get().occurred_at.isoformat(),
            "rejected": list(refused.order_by("pk").values_list("reason", flat=True)),
            "status": [(of.received, of.rejected) for of in statuses()],
        }

        in_transaction = []

        def receiver(**kwargs: Any) -> None:
            in_transaction.append(database.in_atomic_block)

        delivery_recorded.connect(receiver)

        def fail(execute: Any, sql: str, *args: Any) -> Any:
            if sql.startswith("INSERT"):
                raise OperationalError
            return execute(sql, *args)

        body = json.dumps(EXAMPLE | {"customId": "replayed"}).encode()
        rejected = refused.create(body=body, fingerprint="a", account="default")
        with database.execute_wrapper(fail), suppress(OperationalError):
            rejected.replay()
        answers["kept while the database failed"] = refused.filter(pk=rejected.pk).count()
        replayed = rejected.replay()
        again = refused.create(body=body, fingerprint="a", account="default").replay()
        with transaction.atomic(using=database.alias):
            dispatched = dispatch.redispatch(DeliveryEvent.objects.all())
        answers |= {
            "replayed": replayed is not None and replayed.custom_id,
            "replayed again": again == replayed,
            "dispatched again": dispatched,
            "receivers ran in a transaction": in_transaction,
            "done": events.filter(dispatch_status="done").count(),
        }
        call_command("plugchat_forget", EXAMPLE["phone"], stdout=io.StringIO())
        answers["forgotten"] = events.count()
        long_ago = timezone.now() - timedelta(days=365)
        refused.update(received_at=long_ago, last_received_at=long_ago)
        call_command("plugchat_prune", stdout=io.StringIO())
        answers["pruned"] = refused.count()
        return answers
    finally:
        for connection in connections.all():
            connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


if __name__ == "__main__":
    configure(sys.argv[1:], debug=os.environ.get("DEBUG") == "1")
    print(json.dumps(run()))  # noqa: T201
