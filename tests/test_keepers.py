"""What a project's own rows need is not deleted: it is said, and all else goes."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from django_plugchat.models import RejectedCallback

from .notations import NUMBER, SOMEBODY_ELSE
from .people import EVENTS, person, select, submit, text_of
from .rows import event, events, left, rejected

pytestmark = pytest.mark.django_db(transaction=True)

OLD = {"received_at": timezone.now() - timedelta(days=200)}


@pytest.fixture(autouse=True)
def keepers(settings, transactional_db):
    """The models of ``tests.keepers`` and their tables, for one test."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.keepers"]
    apps.clear_cache()  # which knows ours without them
    models = list(apps.get_app_config("keepers").get_models())
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)
    yield {model.__name__: model for model in models}
    with connection.schema_editor() as editor:
        for model in reversed(models):
            editor.delete_model(model)


@pytest.fixture
def keep(keepers):
    """Have a row of a model need one of ours, in each way there is."""

    def keep(name: str, row: Any) -> str:
        if name == "Fee":
            keepers["Fee"].objects.create(reminder=keepers["Reminder"].objects.create(event=row))
        elif name == "fingerprint":
            keepers["Receipt"].objects.create(fingerprint=row)
        elif name == "Complaint":
            keepers["Complaint"].objects.create(rejected=row)
        else:
            keepers[name].objects.create(event=row)
        return {"fingerprint": "keepers.Receipt", "Copy": "another table"}.get(name, f"keepers.{name}")

    return keep


def run(*args: str, fails: bool = False) -> tuple[list[str], str]:
    """The lines that a command prints, and the one that it fails with."""
    output = StringIO()
    failure = ""
    if fails:
        with pytest.raises(CommandError) as raised:
            call_command(*args, stdout=output)
        assert raised.value.returncode == 1
        failure = str(raised.value)
        assert "\n" not in failure
    else:
        call_command(*args, stdout=output)
    assert NUMBER[-8:] not in output.getvalue() + failure
    return output.getvalue().splitlines(), failure


def counts(lines: list[str]) -> list[int]:
    return [next(int(word) for word in line.split() if word.isdigit()) for line in lines[:2]]


WAYS = ["Receipt", "fingerprint", "Dispute", "Fee", "Copy"]


@pytest.mark.parametrize("way", WAYS)
def test_forget_erases_the_rest_and_says_what_is_needed(keep, way):
    rows = events(7, phone=NUMBER)
    event(phone=SOMEBODY_ELSE)
    rejected(NUMBER.encode())
    needed = rows[4]
    label = keep(way, needed)
    lines, failure = run("plugchat_forget", NUMBER, fails=True)
    assert counts(lines) == [6, 1]
    assert f" {needed.pk}" in failure
    assert label in failure
    assert left() == {needed.pk, rows[6].pk + 1}


def test_forget_erases_what_is_no_longer_needed(keep, keepers):
    (row,) = events(1, phone=NUMBER)
    keep("Receipt", row)
    for _ in range(2):
        lines, _failure = run("plugchat_forget", NUMBER, fails=True)
        assert counts(lines) == [0, 0]
    keepers["Receipt"].objects.all().delete()
    lines, _failure = run("plugchat_forget", NUMBER)
    assert counts(lines) == [1, 0]
    assert not left()


@pytest.mark.parametrize("way", ["Receipt", "fingerprint", "Dispute", "Fee"])
def test_a_dry_run_of_forget_says_so_before(keep, way):
    rows = events(3, phone=NUMBER)
    label = keep(way, rows[1])
    lines, failure = run("plugchat_forget", NUMBER, "--dry-run", fails=True)
    assert counts(lines) == [2, 0]
    assert f" {rows[1].pk}" in failure
    assert label in failure
    assert len(left()) == 3


def test_all_that_stands_in_the_way_is_said_at_once(keep):
    rows = events(30, phone=NUMBER)
    for row in rows[:25]:
        keep("Receipt", row)
    keep("Dispute", rows[25])
    keep("Fee", rows[26])
    refused = rejected(NUMBER.encode())
    keep("Complaint", refused)
    lines, failure = run("plugchat_forget", NUMBER, fails=True)
    assert counts(lines) == [3, 0]
    for label in ("keepers.Receipt", "keepers.Dispute", "keepers.Fee", "keepers.Complaint"):
        assert failure.count(label) == 1
    assert f" {rows[19].pk}, …." in failure
    assert f" {refused.pk}" in failure
    assert left(RejectedCallback) == {refused.pk}


def test_what_goes_with_its_event_keeps_nothing(keep, keepers):
    (row,) = events(1, phone=NUMBER)
    keepers["Reminder"].objects.create(event=row)
    lines, _failure = run("plugchat_forget", NUMBER)
    assert counts(lines) == [1, 0]
    assert not keepers["Reminder"].objects.exists()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", ["1", "3", "1000"])
def test_prune_deletes_past_what_is_needed(keep, way, size):
    rows = events(7, **OLD)
    label = keep(way, rows[3])
    lines, _failure = run("plugchat_prune", f"--batch-size={size}")
    assert counts(lines) == [6, 0]
    assert lines[3].endswith(f"({label}) need them: 1")
    assert left() == {rows[3].pk}
    assert counts(run("plugchat_prune")[0]) == [0, 0]


@pytest.mark.parametrize("option", [["--dry-run"], []])
def test_prune_counts_what_is_needed(keep, option):
    rows = events(4, **OLD)
    for row in rows[:2]:
        keep("Receipt", row)
    keep("Dispute", rows[2])
    refused = [rejected(**OLD), rejected(**OLD)]
    keep("Complaint", refused[0])
    lines, _failure = run("plugchat_prune", *option)
    assert counts(lines) == [1, 1]
    assert lines[3].endswith("(keepers.Complaint, keepers.Dispute, keepers.Receipt) need them: 4")
    assert len(left()) == (4 if option else 3)


def test_a_batch_that_is_needed_as_a_whole_costs_few_statements(keep, django_assert_max_num_queries):
    """A project may protect every event that it has ever heard of."""
    for row in events(100, **OLD):
        keep("Receipt", row)
    with django_assert_max_num_queries(30):
        lines, _failure = run("plugchat_prune")
    assert lines[3].endswith("need them: 100")


@pytest.mark.parametrize("way", WAYS)
def test_the_admin_deletes_past_what_is_needed(keep, way):
    rows = events(5)
    keep(way, rows[2])
    client = person("view_deliveryevent", "delete_deliveryevent")
    page = submit(client, select(client, EVENTS, "delete_selected", *rows), EVENTS)
    assert "4 were deleted" in text_of(page)
    assert "1 stays" in text_of(page)
    assert left() == {rows[2].pk}
