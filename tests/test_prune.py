import os
import re
import sys
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from tqdm import tqdm

from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.upkeep import deletion

from .databases import Interrupt, raising
from .rows import Status, event, events, left, rejected
from .waiting import ago

pytestmark = pytest.mark.django_db


def prune(*args, **options):
    output = StringIO()
    call_command("plugchat_prune", *args, stdout=output, **options)
    return output.getvalue().splitlines()


def counts(lines):
    """How many events and rejected callbacks the lines tell of, of the spool where there is one, and how many stay."""
    return [int(count) for line in lines for count in re.findall(r": (\d+)", line)]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the others know how many are due")
def test_the_walk_does_not_sort_all_that_is_not_due():
    assert "plugchat_event_due" not in deletion.old_events(ago(days=1)).order_by("received_at", "pk").explain()


def test_deletes_what_is_older_than_the_retention(plugchat):
    plugchat(RETENTION_DAYS=30)
    event(received_at=ago(days=31))
    kept = event(received_at=ago(days=29))
    rejected(received_at=ago(days=31))
    kept_rejected = rejected(received_at=ago(days=31), last_received_at=ago(days=29))
    assert counts(prune()) == [1, 1]
    assert left() == {kept.pk}
    assert RejectedCallback.objects.get() == kept_rejected


def test_keeps_half_a_year_by_default():
    event(received_at=ago(days=181))
    kept = event(received_at=ago(days=179))
    prune()
    assert left() == {kept.pk}


def test_days_replace_the_setting(plugchat):
    plugchat(RETENTION_DAYS=None)
    event(received_at=ago(days=11))
    kept = event(received_at=ago(days=9))
    assert counts(prune("--days", "10")) == [1, 0]
    assert left() == {kept.pk}
    assert counts(prune(days=0)) == [1, 0]


def test_without_retention_nothing_is_deleted(plugchat):
    plugchat(RETENTION_DAYS=None)
    kept = event(received_at=ago(days=10_000))
    (said,) = prune()
    assert "Retention is off" in said
    assert left() == {kept.pk}


def test_without_time_zone_support(settings):
    settings.USE_TZ = False
    event(received_at=datetime.now() - timedelta(days=11))
    event(received_at=datetime.now() - timedelta(days=9))
    assert counts(prune("--days", "10"))[0] == 1


@pytest.mark.parametrize("days", ["-1", "9999999", "99999999999999999999"])
def test_days_give_a_date(days):
    with pytest.raises(CommandError, match="is no date"):
        prune(f"--days={days}")


@pytest.mark.parametrize("size", ["0", "-1", "10001"])
def test_a_batch_has_a_size(size):
    with pytest.raises(CommandError, match="--batch-size goes from 1 to 10000"):
        prune(f"--batch-size={size}")


def test_what_is_still_to_be_dispatched_is_kept_until_asked_for():
    old = {"received_at": ago(days=200)}
    kept = {
        event(**old, dispatch_status=Status.PENDING, dispatch_due_at=ago(days=-1)).pk,
        event(**old, dispatch_status=Status.RETRYING, dispatch_due_at=ago(days=1)).pk,
    }
    for status in (Status.NONE, Status.DONE, Status.EXHAUSTED):
        event(**old, dispatch_status=status)
    young = event(dispatch_status=Status.PENDING, dispatch_due_at=ago(days=0))
    rejected(**old)
    # A dry run deletes nothing.
    for option in (["--dry-run"], []):
        said = prune(*option)
        assert counts(said) == [3, 1, 2]
        assert "--include-pending" in said[-1]
    assert left() == {*kept, young.pk}
    assert counts(prune("--include-pending")) == [2, 0]
    assert left() == {young.pk}


def test_deletes_in_batches_past_what_it_keeps():
    moment = ago(days=200)
    events(5, received_at=moment)
    pending = {
        row.pk
        for row in events(3, received_at=moment, dispatch_status=Status.PENDING, dispatch_due_at=moment)
        + events(1, received_at=ago(days=199), dispatch_status=Status.PENDING, dispatch_due_at=moment)
    }
    events(2, received_at=ago(days=198))
    for _ in range(5):
        rejected(received_at=moment)
    with CaptureQueriesContext(connection) as queries:
        assert counts(prune("--batch-size", "2"))[:2] == [7, 5]
    assert len([query for query in queries if query["sql"].startswith("DELETE")]) == 4 + 3
    assert left() == pending


def test_many_keys_are_deleted_in_small_batches():
    keys = [row.pk for row in events(5)]
    with CaptureQueriesContext(connection) as queries:
        assert deletion.delete(DeliveryEvent.objects.all(), keys, at_once=2).deleted == 5
    assert len([query for query in queries if query["sql"].startswith("DELETE")]) == 3


def test_an_event_that_is_dispatched_again_meanwhile_is_kept():
    again, _other = events(2, received_at=ago(days=200))

    def dispatch_again():
        DeliveryEvent.objects.filter(pk=again.pk).update(dispatch_status="pending", dispatch_due_at=ago(days=0))

    with connection.execute_wrapper(Interrupt("DELETE", dispatch_again)):
        assert counts(prune())[0] == 1
    assert left() == {again.pk}


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_run_says_what_it_did_and_can_be_run_again():
    events(5, received_at=ago(days=200))
    output = StringIO()
    interrupt = Interrupt("DELETE", raising(KeyboardInterrupt()), after=1)
    with connection.execute_wrapper(interrupt), pytest.raises(CommandError, match="Interrupted") as interrupted:
        call_command("plugchat_prune", "--batch-size=2", stdout=output)
    assert interrupted.value.returncode == 130
    assert "2" in output.getvalue().splitlines()[0]
    assert len(left()) == 3
    assert "3" in prune()[0]


class Terminal(StringIO):
    def isatty(self):
        return True


def test_progress_on_a_terminal(monkeypatch):
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # no thread that outlives the test
    monkeypatch.setattr(sys, "stderr", Terminal())
    events(3, received_at=ago(days=200))
    prune("--batch-size=1")
    assert "0it [" in sys.stderr.getvalue()
    assert "\n" not in sys.stderr.getvalue()


def test_no_progress_off_a_terminal_nor_without_tqdm(monkeypatch):
    events(2, received_at=ago(days=200))
    monkeypatch.setattr(sys, "stderr", StringIO())
    prune("--batch-size=1", "--dry-run")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert "2" in prune("--batch-size=1")[0]
    assert sys.stderr.getvalue() == ""


# The spool


@pytest.fixture
def spooled(plugchat, tmp_path):
    """An old callback that waits, an old one that was set aside, and a new one."""
    plugchat(SPOOL_DIR=str(tmp_path / "spool"))
    (tmp_path / "spool" / "aside").mkdir(parents=True)
    for name, days in (("waits", 200), ("aside/old", 200), ("new", 1)):
        path = tmp_path / "spool" / name
        path.write_text("")
        os.utime(path, (ago(days=days).timestamp(),) * 2)
    return tmp_path / "spool"


def test_what_is_old_in_the_spool_is_deleted_too(spooled):
    lines = prune("--dry-run", "--include-pending")
    assert counts(lines) == [0, 0, 2]
    assert str(spooled) in lines[3]
    assert counts(prune()) == [0, 0, 1]
    # What waits would still be dispatched.
    assert sorted(path.name for path in spooled.iterdir()) == ["aside", "new", "waits"]
    assert counts(prune("--include-pending")) == [0, 0, 1]
    assert sorted(path.name for path in spooled.iterdir()) == ["aside", "new"]


def test_a_spool_that_cannot_be_looked_through(plugchat, tmp_path):
    (tmp_path / "file").write_text("")
    plugchat(SPOOL_DIR=str(tmp_path / "file"))
    with pytest.raises(CommandError, match="Not a directory"):
        prune()
