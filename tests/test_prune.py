from __future__ import annotations

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from io import StringIO
from itertools import count

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_plugchat.models import DeliveryEvent, RejectedCallback
from tests.rows import Status, event, events, rejected

pytestmark = pytest.mark.django_db


class Terminal(StringIO):
    def isatty(self):
        return True


def days_ago(days):
    return timezone.now() - timedelta(days=days)


def prune(*args, **options):
    output = StringIO()
    call_command("plugchat_prune", *args, stdout=output, **options)
    return output.getvalue().splitlines()


def left():
    return set(DeliveryEvent.objects.values_list("pk", flat=True))


def test_deletes_what_is_older_than_the_retention(plugchat):
    plugchat(RETENTION_DAYS=30)
    event(received_at=days_ago(31))
    kept = event(received_at=days_ago(29))
    rejected(received_at=days_ago(31))
    kept_rejected = rejected(received_at=days_ago(31), last_received_at=days_ago(29))
    assert prune() == ["Deleted 1 event.", "Deleted 1 rejected callback."]
    assert left() == {kept.pk}
    assert RejectedCallback.objects.get() == kept_rejected


def test_keeps_half_a_year_by_default():
    event(received_at=days_ago(181))
    kept = event(received_at=days_ago(179))
    prune()
    assert left() == {kept.pk}


def test_days_replace_the_setting(plugchat):
    plugchat(RETENTION_DAYS=None)
    event(received_at=days_ago(11))
    kept = event(received_at=days_ago(9))
    assert prune("--days", "10") == ["Deleted 1 event.", "Deleted 0 rejected callbacks."]
    assert left() == {kept.pk}
    assert prune(days=0) == ["Deleted 1 event.", "Deleted 0 rejected callbacks."]


def test_without_retention_nothing_is_deleted(plugchat):
    plugchat(RETENTION_DAYS=None)
    kept = event(received_at=days_ago(10_000))
    (said,) = prune()
    assert "Retention is off" in said
    assert left() == {kept.pk}


def test_without_time_zone_support(settings):
    settings.USE_TZ = False
    event(received_at=datetime.now() - timedelta(days=11))
    event(received_at=datetime.now() - timedelta(days=9))
    assert prune("--days", "10")[0] == "Deleted 1 event."


@pytest.mark.parametrize("days", ["-1", "9999999", "99999999999999999999"])
def test_days_give_a_date(days):
    with pytest.raises(CommandError, match="is no date"):
        prune(f"--days={days}")


@pytest.mark.parametrize("size", ["0", "-1", "10001"])
def test_a_batch_has_a_size(size):
    with pytest.raises(CommandError, match="--batch-size goes from 1 to 10000"):
        prune(f"--batch-size={size}")


def test_what_is_still_to_be_dispatched_is_kept_until_asked_for():
    old = {"received_at": days_ago(200)}
    kept = {
        event(**old, dispatch_status=Status.PENDING, dispatch_due_at=days_ago(-1)).pk,
        event(**old, dispatch_status=Status.FAILED, dispatch_due_at=days_ago(1)).pk,
    }
    for status in (Status.NONE, Status.DONE, Status.FAILED):
        event(**old, dispatch_status=status)
    young = event(dispatch_status=Status.PENDING, dispatch_due_at=days_ago(0))
    kept_line = "Kept 2 old events that are still to be dispatched; --include-pending deletes them too."
    assert prune("--dry-run") == ["Would delete 3 events.", "Would delete 0 rejected callbacks.", kept_line]
    assert prune() == ["Deleted 3 events.", "Deleted 0 rejected callbacks.", kept_line]
    assert left() == {*kept, young.pk}
    assert prune("--include-pending") == ["Deleted 2 events.", "Deleted 0 rejected callbacks."]
    assert left() == {young.pk}


def test_dry_run_deletes_nothing():
    event(received_at=days_ago(200))
    rejected(received_at=days_ago(200))
    assert prune("--dry-run") == ["Would delete 1 event.", "Would delete 1 rejected callback."]
    assert DeliveryEvent.objects.exists()
    assert RejectedCallback.objects.exists()


def test_deletes_in_batches_past_what_it_keeps():
    moment = days_ago(200)
    events(5, received_at=moment)
    pending = {
        row.pk
        for row in events(3, received_at=moment, dispatch_status=Status.PENDING, dispatch_due_at=moment)
        + events(1, received_at=days_ago(199), dispatch_status=Status.PENDING, dispatch_due_at=moment)
    }
    events(2, received_at=days_ago(198))
    for _ in range(5):
        rejected(received_at=moment)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert prune("--batch-size", "2")[:2] == ["Deleted 7 events.", "Deleted 5 rejected callbacks."]
    assert len([query for query in queries if query["sql"].startswith("DELETE")]) == 4 + 3
    assert left() == pending


def test_an_event_that_is_dispatched_again_meanwhile_is_kept():
    again, _other = events(2, received_at=days_ago(200))
    statements = []

    def dispatch_again_before_the_delete(execute, sql, params, many, context):
        if sql.startswith("DELETE") and not statements:
            statements.append(sql)
            DeliveryEvent.objects.filter(pk=again.pk).update(dispatch_status="pending", dispatch_due_at=days_ago(0))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(dispatch_again_before_the_delete):
        assert prune()[0] == "Deleted 1 event."
    assert left() == {again.pk}
    assert len(statements) == 1


@pytest.fixture
def on_deletion():
    """Have a function called whenever an event was deleted, with the number deleted so far."""
    connected = []

    def connect(function):
        deleted = count(1)

        def receiver(**kwargs):
            function(next(deleted))

        post_delete.connect(receiver, sender=DeliveryEvent, weak=False)
        connected.append(receiver)

    yield connect
    for receiver in connected:
        post_delete.disconnect(receiver, sender=DeliveryEvent)


def test_an_interrupted_run_ends_its_batch_says_what_it_did_and_can_be_run_again(on_deletion):
    events(5, received_at=days_ago(200))
    on_deletion(lambda deleted: signal.raise_signal(signal.SIGINT) if deleted == 3 else None)
    handler = signal.getsignal(signal.SIGINT)
    output = StringIO()
    with pytest.raises(CommandError, match="Interrupted") as interrupted:
        call_command("plugchat_prune", "--batch-size=2", stdout=output)
    assert interrupted.value.returncode == 130
    assert output.getvalue().splitlines() == ["Deleted 4 events.", "Deleted 0 rejected callbacks."]
    assert len(left()) == 1
    assert signal.getsignal(signal.SIGINT) is handler
    assert prune()[0] == "Deleted 1 event."


@pytest.mark.django_db(transaction=True)
def test_a_second_interrupt_does_not_wait_for_the_batch(on_deletion):
    events(5, received_at=days_ago(200))

    def interrupt_twice_at_the_third(deleted):
        for _ in range(2 if deleted == 3 else 0):
            signal.raise_signal(signal.SIGINT)

    on_deletion(interrupt_twice_at_the_third)
    output = StringIO()
    with pytest.raises(CommandError, match="Interrupted"):
        call_command("plugchat_prune", "--batch-size=2", stdout=output)
    assert output.getvalue().splitlines()[0] == "Deleted 2 events."
    assert len(left()) == 3


@pytest.mark.django_db(transaction=True)
def test_in_a_thread():
    events(2, received_at=days_ago(200))

    def prune_and_disconnect():
        try:
            return prune()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(prune_and_disconnect).result()[0] == "Deleted 2 events."


def test_progress_on_a_terminal(monkeypatch):
    tqdm = pytest.importorskip("tqdm").tqdm
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # no thread that outlives the test
    events(3, received_at=days_ago(200))
    terminal = Terminal()
    prune("--batch-size=1", stderr=terminal)
    assert "0/3" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()


def test_progress_on_a_terminal_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    events(3, received_at=days_ago(200))
    terminal = Terminal()
    prune("--batch-size=1", stderr=terminal)
    assert terminal.getvalue() == "\r1/3\r2/3\r3/3\n"


def test_no_progress_off_a_terminal():
    event(received_at=days_ago(200))
    log = StringIO()
    prune(stderr=log)
    assert log.getvalue() == ""
