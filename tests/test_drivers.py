"""By whatever driver, pool and encoding Django reaches PostgreSQL: the answers are the same."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from .drivers import ENGINES, REPEATED
from .faults import PostgreSQL

pytestmark = pytest.mark.services

#: Which of two characters, of Western and of Eastern Europe, a database can store.
STORABLE = {"UTF8": "çł", "LATIN1": "ç", "SQL_ASCII": ""}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    cluster = PostgreSQL()
    cluster.execute("ALTER SYSTEM SET default_transaction_isolation = 'serializable'", "SELECT pg_reload_conf()")
    yield cluster
    cluster.remove()


@pytest.mark.parametrize("encoding", STORABLE)
@pytest.mark.parametrize("driver", ENGINES)
def test_the_answers_are_the_same(postgresql, driver, encoding):
    name = f"{driver} {encoding}".replace(" ", "_").lower()
    postgresql.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    run = subprocess.run(
        [sys.executable, "-m", "tests.drivers", driver],
        env=os.environ
        | {
            "DATABASE_URL": postgresql.url.rpartition("/")[0] + f"/{name}",
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        },
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    answers = {character: "200 recorded" if character in STORABLE[encoding] else "400" for character in "çł"}
    stored = len(STORABLE[encoding])
    assert json.loads(run.stdout) == answers | {
        "at once": {"200 recorded": REPEATED, "200 duplicate": 2 * REPEATED},
        "read only": "200 recorded",
        "events": REPEATED + 1 + stored,
        "rejected": 2 - stored,
    }
