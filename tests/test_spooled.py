"""What the spool kept is stored when the database is back."""

import json
import os
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError, connection
from django.utils import timezone

from django_plugchat import recording, spool
from django_plugchat.models import Connection, DeliveryEvent, RejectedCallback
from django_plugchat.upkeep import spooled

from .databases import Interrupt, raising
from .payloads import EXAMPLE
from .receivers import Receiver, connected
from .waiting import ago

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def folder(plugchat, tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "process", spool.Process())
    plugchat(SPOOL_DIR=str(tmp_path / "spool"))
    return tmp_path / "spool"


def keep(*, account="default", received_at=None, **changes):
    body = json.dumps(EXAMPLE | changes).encode()
    assert spool.keep(body, spool.Receipt(account, "01234567", received_at or timezone.now()))


def redispatch(*args):
    output = StringIO()
    call_command("plugchat_redispatch", *args, stdout=output)
    return output.getvalue().splitlines()


def stored():
    return sorted(DeliveryEvent.objects.values_list("zaap_id", flat=True))


def test_what_waits_is_stored_as_it_came():
    came = ago(hours=2)
    keep(zaapId="a", received_at=came)
    keep(zaapId="b", account="retired meanwhile")
    with connected(receiver := Receiver()):
        assert spooled.drain() == 2
    assert spool.state().waiting == 0
    assert receiver.heard == []
    event = DeliveryEvent.objects.get(zaap_id="a")
    assert (event.account, event.secret_id, event.times_received) == ("default", "01234567", 1)
    assert (event.received_at, event.last_received_at) == (came, came)
    assert (event.dispatch_status, event.dispatch_attempts) == ("pending", 0)
    assert event in DeliveryEvent.objects.due()
    assert DeliveryEvent.objects.get(zaap_id="b").account == "retired meanwhile"


def test_the_command_tells_receivers_afterwards():
    keep(zaapId="a")
    keep(zaapId="b")
    with connected(receiver := Receiver()):
        assert redispatch()[0] == "Callbacks taken over from the spool: 2"
    assert sorted(event.zaap_id for event in receiver.heard) == ["a", "b"]


def test_a_callback_that_is_known_is_counted():
    keep(zaapId="a")
    keep(zaapId="a")
    assert spooled.drain() == 2
    assert DeliveryEvent.objects.get().times_received == 2


def test_every_kind_of_callback():
    keep(phone=None)
    keep(type="DisconnectedCallback")
    keep(type="ReceivedCallback")
    keep(type="MessageStatusCallback", status="READ", ids=["x", "y"])
    keep(type="MessageStatusCallback", status="NEW", ids=["x"])
    assert spooled.drain() == 5
    assert DeliveryEvent.objects.count() == 2
    assert not Connection.objects.get().is_connected
    assert set(RejectedCallback.objects.values_list("reason", flat=True)) == {"invalid", "unknown_status"}


def test_whoever_dies_after_recording_records_again(monkeypatch):
    keep(zaapId="a")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            spooled.drain()
    assert spooled.drain() == 1
    assert DeliveryEvent.objects.get().times_received == 2


def test_one_at_a_time():
    keep()
    with spool.alone():
        assert spooled.drain() == 0
    assert spooled.drain() == 1


def test_a_file_that_cannot_be_recorded_is_set_aside(folder, monkeypatch, caplog):
    keep(zaapId="a")
    (folder / "note").write_text(EXAMPLE["phone"])
    (folder / "deep").write_text("[" * 100_000)
    take = recording.take
    monkeypatch.setattr(recording, "take", lambda body, receipt: (b'"b"' in body and 1 / 0) or take(body, receipt))
    keep(zaapId="b")
    keep(zaapId="c")
    assert redispatch()[0] == "Callbacks taken over from the spool: 2"
    assert (stored(), spool.state().set_aside, spool.state().waiting) == (["a", "c"], 3, 0)
    assert "ZeroDivisionError" in caplog.text
    assert EXAMPLE["phone"] not in caplog.text


@contextmanager
def refusing(*zaap_ids, error):
    """A database that does not take some events, or any, by no fault that a driver would tell from others."""

    def refuse(execute, sql, params, many, context):
        if sql.startswith("INSERT") and (not zaap_ids or any(zaap_id in params for zaap_id in zaap_ids)):
            raise error
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield


def test_a_callback_that_the_database_never_takes_holds_up_no_other():
    for zaap_id in "abc":
        keep(zaapId=zaap_id)
    with refusing("a", "b", error=OperationalError("index row too large")):
        assert spooled.drain() == 1
    assert spool.state().set_aside == 2
    assert stored() == ["c"]


def test_a_callback_that_fails_once_is_not_set_aside():
    keep(zaapId="a")
    keep(zaapId="b")
    with connection.execute_wrapper(Interrupt("INSERT", raising(OperationalError()))):
        assert spooled.drain() == 2


def test_where_nothing_can_be_stored_all_waits():
    keep(zaapId="a")
    keep(zaapId="b")
    with refusing(error=OperationalError("disk full")), pytest.raises(OperationalError, match="full"):
        spooled.drain()
    assert (spool.state().waiting, spool.state().set_aside) == (2, 0)


def test_the_command_stops_while_the_database_is_away():
    keep(zaapId="a")
    keep(zaapId="b")
    away = connection.execute_wrapper(raising(OperationalError(EXAMPLE["phone"])))
    with away, pytest.raises(CommandError, match=r"The database failed \(OperationalError\).*spool: 2") as raised:
        redispatch()
    assert EXAMPLE["phone"] not in str(raised.value)


def test_a_database_that_goes_away_while_a_failure_is_tried_again():
    keep(zaapId="a")
    keep(zaapId="b")
    # It refuses the first callback, stores anything else, refuses it once more, and then everything.
    errors = [OperationalError(), None, OperationalError(), ProgrammingError()]

    def goes_away(execute, sql, params, many, context):
        if sql.startswith("INSERT") and (error := errors.pop(0)):
            raise error
        return execute(sql, params, many, context)

    with connection.execute_wrapper(goes_away), pytest.raises(ProgrammingError):
        spooled.drain()
    assert (stored(), spool.state().waiting, spool.state().set_aside) == ([], 2, 0)


def test_another_user_is_refused(monkeypatch):
    keep()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(CommandError, match="another user"):
        redispatch()
    assert DeliveryEvent.objects.count() == 0


def test_what_was_killed_while_it_was_written_goes(folder):
    keep()
    for name, age in ((".old", 7200), (".new", 1)):
        (folder / name).write_text("half of")
        os.utime(folder / name, (timezone.now().timestamp() - age,) * 2)
    spooled.drain()
    assert [path.name for path in folder.iterdir()] == [".new"]


def test_looking_through_it(folder):
    keep(zaapId="a", received_at=ago(days=200))
    keep(zaapId="b")
    spool.put_aside(spool.paths()[1])
    keep(zaapId="c", received_at=ago(days=200))
    spool.put_aside(spool.paths()[1])
    before = timezone.now() - timedelta(days=180)
    assert spooled.prune(before, include_waiting=True, dry_run=True) == 2
    assert spooled.prune(before, include_waiting=False, dry_run=False) == 1
    assert (spool.state().waiting, spool.state().set_aside) == (1, 1)
    assert str(folder) in spooled.reach()
