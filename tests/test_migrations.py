"""During a rolling deploy the code of before runs over tables that are migrated already, and must store callbacks."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.db.migrations import AddConstraint, AddField, AddIndex, Migration
from django.db.migrations.loader import MigrationLoader
from django.db.models import NOT_PROVIDED

from django_plugchat.models import DeliveryEvent

from .later_migrations import bad, good
from .payloads import EXAMPLE

APP = "django_plugchat"


def wrong_in(migration: Migration) -> list[str]:
    """What of a migration the code of before would not survive, or would wait for."""
    wrong = []
    for operation in migration.operations:
        where = f"{migration.name}: {operation.describe()}"
        if isinstance(operation, AddField):
            field = operation.field
            if not field.null and field.db_default is NOT_PROVIDED:
                wrong.append(f"{where}: neither nullable nor with a db_default")
            if field.db_index or field.unique:
                wrong.append(f"{where}: its index is built while writers wait")
        if isinstance(operation, AddIndex | AddConstraint) and (operation.atomic or migration.atomic):
            wrong.append(f"{where}: built while writers wait")
    return wrong


def later_migrations() -> list[Migration]:
    migrations = MigrationLoader(None).disk_migrations
    return [migration for (app, name), migration in migrations.items() if app == APP and name != "0001_initial"]


def test_later_migrations_let_the_code_of_before_go_on():
    assert [wrong for migration in later_migrations() for wrong in wrong_in(migration)] == []


def test_the_rule():
    assert wrong_in(good.Migration("good", APP)) == []
    assert len(wrong_in(bad.Migration("bad", APP))) == 4


@contextmanager
def migrated(migration: Migration) -> Iterator[None]:
    """The tables as that migration leaves them, until the block ends."""
    before = MigrationLoader(connection).project_state()
    with connection.schema_editor(atomic=migration.atomic) as editor:
        migration.apply(before.clone(), editor)
    try:
        yield
    finally:
        with connection.schema_editor(atomic=migration.atomic) as editor:
            migration.unapply(before.clone(), editor)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("migration", "status"), [(good.Migration, 200), (bad.Migration, 503)])
def test_the_code_of_before_over_migrated_tables(post, migration, status):
    with migrated(migration("later", APP)):
        assert post(EXAMPLE).status_code == status
        assert DeliveryEvent.objects.count() == (status == 200)
        DeliveryEvent.objects.all().delete()
