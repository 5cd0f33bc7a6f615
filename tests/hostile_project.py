"""``python -m tests.hostile_project NAME…``: callbacks through a project with these settings of ``HOSTILE``.

Runs on the database of DATABASE_URL and prints the answers and what was stored as JSON.
"""

import io
import json
import os
import sys
from contextlib import nullcontext, suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

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
    "cached querysets": {"CACHED": True},
    "no other apps": {
        "INSTALLED_APPS": ["django_plugchat"],
        "MIDDLEWARE": [],
        "ROOT_URLCONF": "tests.urls_alone",
    },
}


def configure(names: list[str], debug: bool) -> None:
    """Set up Django as in tests.settings, with these hostile settings; both databases exist and are empty."""
    from tests import settings as base

    options = {name: getattr(base, name) for name in dir(base) if name.isupper()} | {"ATOMIC": False, "CACHED": False}
    for name in names:
        for key, value in HOSTILE[name].items():
            options[key] = options.get("REST_FRAMEWORK", {}) | value if key == "REST_FRAMEWORK" else value
    default = options["DATABASES"]["default"]
    # Not the name of the database of the tests that run this.
    default = default | {"ATOMIC_REQUESTS": options["ATOMIC"], "NAME": f"{default['NAME']}_hostile"}
    other = default | {"NAME": f"{default['NAME']}_other"}
    if "sqlite3" in default["ENGINE"]:
        default, other = default | {"TEST": {}}, other | {"TEST": {}}
    options["DATABASES"] = {"default": default, "other": other}
    settings.configure(**options, DEBUG=debug)

    import django

    django.setup()


def run() -> dict[str, Any]:
    from django.db import connections
    from django.test.utils import setup_test_environment

    from django_plugchat.models import DeliveryEvent
    from tests.hostile import CachedQuerysets

    setup_test_environment(debug=settings.DEBUG)
    for connection in connections.all():
        connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        with CachedQuerysets(DeliveryEvent) if settings.CACHED else nullcontext():
            return answers_of_the_view() | what_became_of_events() | what_is_deleted()
    finally:
        for connection in connections.all():
            connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


def post(body: Any, url: str = "", content_type: str = "application/json", **extra: Any) -> Any:
    from django.test import Client

    from tests.payloads import URL

    client = Client(enforce_csrf_checks=True, headers={"accept": "text/html"})
    response = client.post(url or URL, body, content_type=content_type, **extra)
    return [response.status_code, response.json()]


def answers_of_the_view() -> dict[str, Any]:
    from django.db import connections, router
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from django_plugchat.models import DeliveryEvent, RejectedCallback
    from tests.payloads import EXAMPLE, LIVE_SUCCESS_GZIPPED, STATUS_OF_TWO, URL

    live = EXAMPLE | {"momment": 1777494091684}
    database = connections[router.db_for_write(DeliveryEvent)]
    with CaptureQueriesContext(database) as captured:
        new = post(live, URL[:-1])
    return {
        "new": new,
        "statements": len(captured),
        "unknown secret": post(live, "/plugchat/callback/wrong"),
        "below": post(live, "/plugchat/callback/a/b"),
        "method": [Client().get(URL).status_code, Client().options(URL).status_code],
        "content type": post("a", content_type="text/plain")[0],
        "too large": post("[" * 70_000)[0],
        "ignored": post({"type": "ReceivedCallback"}),
        "refused": post("{")[0],
        "unusable": post({"type": "DeliveryCallback"})[0],
        "again": post(live),
        "compressed": post(LIVE_SUCCESS_GZIPPED, HTTP_CONTENT_ENCODING="gzip"),
        "status": post(STATUS_OF_TWO),
        "status again": post(STATUS_OF_TWO),
        "events": list(DeliveryEvent.objects.for_writing().order_by("pk").values_list("times_received", "outcome")),
        "occurred": DeliveryEvent.objects.for_writing().earliest("pk").occurred_at.isoformat(),
        "rejected": list(RejectedCallback.objects.for_writing().order_by("pk").values_list("reason", flat=True)),
    }


def what_became_of_events() -> dict[str, Any]:
    from django.db import OperationalError, connections, router, transaction
    from django.test.utils import CaptureQueriesContext

    from django_plugchat import recording
    from django_plugchat.models import DeliveryEvent, RejectedCallback
    from django_plugchat.upkeep import sweeps
    from django_plugchat.upkeep.findings import statuses
    from tests.databases import Interrupt, raising
    from tests.payloads import EXAMPLE, LIVE_SUCCESS, STATUS
    from tests.receivers import Receiver, connected

    database = connections[router.db_for_write(DeliveryEvent)]
    events = DeliveryEvent.objects.for_writing()
    refused = RejectedCallback.objects.for_writing()
    in_transaction: list[bool] = []
    receiver = Receiver(does=lambda event: in_transaction.append(database.in_atomic_block))
    told = Receiver(ValueError(), times=1)
    body = json.dumps(EXAMPLE | {"customId": "replayed"}).encode()
    with connected(receiver):
        with CaptureQueriesContext(database) as captured:
            post(STATUS | {"ids": ["heard"]})
        statements = len(captured)
        rejected = refused.create(body=body, fingerprint=uuid4(), account="default")
        with database.execute_wrapper(Interrupt("INSERT", raising(OperationalError()))), suppress(OperationalError):
            recording.replay(rejected)
        kept = refused.filter(pk=rejected.pk).count()
        replayed = recording.replay(rejected) or []
        again = recording.replay(refused.create(body=body, fingerprint=uuid4(), account="default"))
        with transaction.atomic(using=database.alias):
            dispatched = sweeps.start_over(DeliveryEvent.objects.all())
    with connected(told):
        post(EXAMPLE | {"customId": "told again"})
        swept = sweeps.sweep(now=True, inline=True)
    return {
        "statements with a receiver": statements,
        "kept while the database failed": kept,
        "replayed": [event.custom_id for event in replayed],
        "replayed again": again == replayed,
        "dispatched again": dispatched,
        "receivers ran in a transaction": in_transaction,
        "told again": [len(told.heard), swept.done],
        "done": events.filter(dispatch_status="done").count(),
        "progress": events.progress(LIVE_SUCCESS["zaapId"]),
        "story": len(events.for_message(LIVE_SUCCESS["zaapId"])),
        "figures": [account.figures.counts["rejected"] for account in statuses()],
    }


def what_is_deleted() -> dict[str, Any]:
    from django.core.management import call_command
    from django.utils import timezone

    from django_plugchat.models import DeliveryEvent, RejectedCallback
    from tests.payloads import EXAMPLE

    events, refused = DeliveryEvent.objects.for_writing(), RejectedCallback.objects.for_writing()
    call_command("plugchat_forget", EXAMPLE["phone"], stdout=io.StringIO())
    long_ago = timezone.now() - timedelta(days=365)
    forgotten = events.filter(phone=EXAMPLE["phone"]).count()
    for rows in (events, refused):
        rows.update(received_at=long_ago, last_received_at=long_ago)
    call_command("plugchat_prune", stdout=io.StringIO())
    return {"forgotten": forgotten, "pruned": [events.count(), refused.count()]}


if __name__ == "__main__":
    configure(sys.argv[1:], debug=os.environ.get("DEBUG") == "1")
    print(json.dumps(run()))  # noqa: T201
