"""``python -m tests.drivers DRIVER``: callbacks by another driver or pool; prints what became of them as JSON."""

import json
import sys
import threading
import uuid
from collections import Counter
from typing import Any

ENGINES = {
    "psycopg 3": "django.db.backends.postgresql",
    "psycopg 2": "django.db.backends.postgresql",
    "geventpool": "django_db_geventpool.backends.postgresql_psycopg2",
    "autocommit off": "django.db.backends.postgresql",
}
REPEATED = 20


def start(driver: str) -> None:
    if driver in {"psycopg 2", "geventpool"}:
        sys.modules["psycopg"] = None  # type: ignore[assignment]  # Django would take it

    import django
    from django.conf import settings
    from django.core.management import call_command

    database = settings.DATABASES["default"]
    database["ENGINE"] = ENGINES[driver]
    database["AUTOCOMMIT"] = driver != "autocommit off"
    if driver == "geventpool":
        database["OPTIONS"] = {"MAX_CONNS": 8, "REUSE_CONNS": 4}
    django.setup()
    call_command("migrate", verbosity=0)
    if driver == "autocommit off":
        from django.db import connection

        connection.commit()


def post(client: Any, zaap_id: str) -> str:
    from .payloads import EXAMPLE, URL

    response = client.post(URL, json.dumps(EXAMPLE | {"zaapId": zaap_id}), content_type="application/json")
    return f"{response.status_code} {response.json().get('status', '')}".strip()


def at_once() -> Counter[str]:
    """The same callbacks by several threads, which a serializable database refuses again and again."""
    from django.db import connections
    from django.test import Client

    answers: Counter[str] = Counter()

    def work() -> None:
        client = Client()
        for number in range(REPEATED):
            answers[post(client, f"repeated-{number}")] += 1
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def main(driver: str) -> dict[str, Any]:
    start(driver)

    from django.db import connection
    from django.test import Client

    from django_plugchat.models import DeliveryEvent, RejectedCallback

    client = Client()

    def after(statement: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        return post(client, uuid.uuid4().hex)

    found: dict[str, Any] = {"at once": at_once(), "read only": after("SET default_transaction_read_only = on")}
    found |= {name: post(client, text) for name, text in {"ç": "ça", "ł": "łatwo"}.items()}
    connection.close()
    found["events"] = DeliveryEvent.objects.count()
    found["rejected"] = RejectedCallback.objects.count()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])))
