import asyncio
import json
import shlex
import time
from contextlib import suppress
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.translation import override
from health_check.views import HealthCheckView
from prometheus_client.parser import text_string_to_metric_families

from django_plugchat import accounts, spool
from django_plugchat.conf import secret_id
from django_plugchat.models import Account, Connection, Registration, RejectedCallback
from django_plugchat.upkeep import findings
from django_plugchat.upkeep.figures import first_calls
from django_plugchat.upkeep.findings import of_this_host, statuses
from tests import rows
from tests.payloads import EXAMPLE, RETIRING_SECRET as RETIRING, SECRET
from tests.receivers import Receiver, connected
from tests.rows import Status, event, events, rejected
from tests.waiting import ago

pytestmark = pytest.mark.django_db

REMOVED = "a-secret-that-was-removed-long-ago"


@pytest.fixture
def receiver():
    with connected(Receiver()):
        yield


@pytest.fixture
def one_account(plugchat, settings):
    """One that had a callback just now, so that a test sees what it is about and nothing else."""
    plugchat(ACCOUNTS={"default": settings.PLUGCHAT["ACCOUNTS"]["default"]})
    event(dispatch_status=Status.DONE)


def register(webhook="update-webhook-delivery", *, account="default", secret=SECRET, **fields):
    return Registration.objects.create(account=account, webhook=webhook, secret_id=secret_id(secret), **fields)


def connect(is_connected=True, *, account="default", **fields):
    fields = {"instance_id": "I", "since": ago(hours=2), "reported_at": ago(hours=2)} | fields
    return Connection.objects.create(account=account, is_connected=is_connected, **fields)


def run(*args):
    """Whether it succeeded, and what it wrote to standard output."""
    output = StringIO()
    try:
        call_command("plugchat_status", *args, stdout=output)
    except CommandError:
        return False, output.getvalue()
    return True, output.getvalue()


def report():
    succeeded, output = run("--json")
    found = json.loads(output)
    assert found["ok"] == succeeded
    return {account["account"]: account for account in found["accounts"]}


def problems(account="default"):
    return report()[account]["problems"]


def finding(name, account="default"):
    (found,) = (found for found in report()[account]["findings"] if found["name"] == name)
    return found


def test_no_account(plugchat):
    plugchat(ACCOUNTS={})
    succeeded, output = run()
    assert succeeded
    assert "No account" in output


@pytest.mark.usefixtures("one_account")
def test_all_is_well():
    succeeded, output = run()
    assert succeeded
    assert output.splitlines()[0] == "Loja Centro (default)"
    assert "!" not in output


def test_json():
    due = event(outcome="failed", error="Timeout on send message", dispatch_status=Status.PENDING)
    due.dispatch_due_at = ago(minutes=15)
    due.save()
    event(received_at=ago(hours=25), dispatch_status=Status.RUNNING, dispatch_due_at=ago(minutes=5))
    event(dispatch_status=Status.PENDING, dispatch_due_at=ago(minutes=-5))
    next_retry = ago(minutes=-7)
    event(dispatch_status=Status.RETRYING, dispatch_due_at=next_retry, dispatch_failed=True)
    event(dispatch_status=Status.RETRYING, dispatch_due_at=ago(minutes=-9), dispatch_failed=True)
    event(dispatch_status=Status.EXHAUSTED)
    event(received_at=ago(hours=25))
    for outcome in ("sent", "read"):
        rows.status(outcome, "M", secret_id=secret_id(RETIRING), dispatch_status=Status.DONE)
    newest = event(account="norte", secret_id=secret_id("secret-of-the-account-norte"))
    rejected(received_at=ago(hours=25))
    rejected(received_at=ago(hours=25), last_received_at=ago(hours=1))
    registered = register(registered_at=ago(days=3))
    connection = connect(account="norte")
    found = report()
    assert list(found) == ["default", "norte"]
    last_call = found["default"]["registrations"][0].pop("last_call")
    assert due.received_at.isoformat() < last_call
    assert due.received_at.isoformat() < found["default"].pop("last_callback")
    (secret,) = found["default"].pop("other_secrets")
    assert datetime.fromisoformat(secret.pop("last_seen")).tzinfo
    assert secret == {"secret_id": secret_id(RETIRING), "state": "retiring"}
    findings = found["default"].pop("findings")
    assert [each["name"] for each in findings] == found["default"]["problems"]
    assert found["default"] == {
        "account": "default",
        "label": "Loja Centro",
        "configured": True,
        "last_24_hours": {
            "sent": 4,
            "failed": 1,
            "received": 0,
            "read": 1,
            "played": 0,
            "deliveries": 5,
            "statuses": 2,
            "failures": {"temporary": 1},
            "none": 0,
            "rejected": 1,
            "unknown_statuses": 0,
        },
        "dispatch": {
            "pending": 2,
            "running": 1,
            "retrying": 2,
            "exhausted": 1,
            "none": 0,
            "due": 2,
            "overdue": 1,
            "next_retry_at": next_retry.isoformat(),
        },
        "rejected": 2,
        "unknown_statuses": 0,
        "connections": [],
        "registrations": [
            {
                "webhook": "update-webhook-delivery",
                "secret_id": secret_id(SECRET),
                "registered_at": registered.registered_at.isoformat(),
            }
        ],
        "problems": ["overdue", "exhausted", "retrying", "rejected", "retiring_secret"],
    }
    norte = found["norte"]
    assert norte["label"] == "norte"
    assert norte["last_callback"] == newest.received_at.isoformat()
    assert norte["last_24_hours"]["sent"] == norte["last_24_hours"]["none"] == norte["dispatch"]["none"] == 1
    assert norte["last_24_hours"]["failures"] == {}
    assert norte["dispatch"]["next_retry_at"] is None
    assert norte["connections"] == [{"connected": True, "since": connection.since.isoformat()}]
    assert norte["registrations"] == norte["other_secrets"] == norte["problems"] == norte["findings"] == []


def test_people_read_the_same():
    event(
        outcome="failed", error="Timeout on send message", dispatch_status=Status.PENDING, dispatch_due_at=ago(days=1)
    )
    event(dispatch_status=Status.RETRYING, dispatch_due_at=ago(hours=-1), dispatch_failed=True)
    rejected()
    register(registered_at=ago(days=3))
    _succeeded, output = run()
    for words in ("registered 3 days ago", "Sent 1", "Not sent 1", "1 of 1", "Waiting 1", "due 1", "1 kept"):
        assert words in output


@pytest.mark.usefixtures("one_account")
def test_problems_are_explained_and_counted():
    event(dispatch_status=Status.RETRYING, dispatch_due_at=ago(minutes=-5), dispatch_failed=True)
    rejected()
    output = StringIO()
    with pytest.raises(CommandError, match="2 things need a person"):
        call_command("plugchat_status", stdout=output)
    lines = output.getvalue().splitlines()
    runbook = "    https://github.com/django-plugchat/django-plugchat/blob/main/docs/howto/monitoring.md"
    retrying, refused = (lines.index(line) for line in lines if line.startswith("! "))
    assert lines[retrying].startswith("! retrying: ")
    assert lines[retrying + 1 : refused] == ["    python manage.py plugchat_redispatch --now", f"{runbook}#retrying"]
    assert lines[refused].startswith("! rejected: ")
    assert lines[refused + 1 :] == [f"{runbook}#rejected"]


# Silence


def test_an_account_that_was_never_called():
    assert problems() == problems("norte") == ["never_called"]
    assert "not registered by this site" in finding("never_called")["text"]
    assert "--account default" in finding("never_called")["command"]
    register(registered_at=ago(hours=2))
    assert "registered 2 hours ago" in finding("never_called")["text"]


def test_a_new_account_may_take_an_hour_until_its_first_callback():
    register(registered_at=ago(minutes=50))
    assert problems() == []
    account = accounts.add("lua")
    assert problems("lua") == []
    Account.objects.filter(pk=account.pk).update(created_at=ago(minutes=70))
    assert problems("lua") == ["never_called"]


def test_an_account_without_a_name_that_a_shell_takes(plugchat):
    plugchat(ACCOUNTS={"Loja do João": {"WEBHOOK_SECRETS": [SECRET]}})
    assert shlex.split(finding("never_called", "Loja do João")["command"])[4] == "Loja do João"


def test_a_rejected_callback_is_a_callback(plugchat, settings):
    plugchat(ACCOUNTS={"default": settings.PLUGCHAT["ACCOUNTS"]["default"]})
    rejected(received_at=ago(hours=30))
    assert problems() == []


@pytest.mark.parametrize(
    ("called_hours_ago", "registered_hours_ago", "found"),
    [(3, 2, ["silent_since_registered"]), (3, 0.9, []), (2, 3, []), (37 * 24, 2, ["silent_since_registered"])],
)
def test_silent_since_registered(called_hours_ago, registered_hours_ago, found):
    event(received_at=ago(hours=called_hours_ago))
    register(registered_at=ago(days=90), webhook="a-webhook")
    register(registered_at=ago(hours=registered_hours_ago))
    assert problems() == found


@pytest.mark.parametrize(
    ("webhooks", "options"),
    [
        ([], []),
        (["update-webhook-delivery"], []),
        (["update-webhook-delivery", "update-webhook-message-status"], ["--with-status"]),
        (["messageDeliveryError", "sendingMessage"], ["--api", "update-webhooks"]),
        (["messageStatus", "sendingMessage"], ["--api", "update-webhooks", "--with-status"]),
        # Registered by both calls, one after the other: the later one.
        (["sendingMessage", "update-webhook-delivery"], []),
        (["update-webhook-delivery", "sendingMessage"], ["--api", "update-webhooks"]),
        (["update-webhook-delivery", "update-webhook-connected"], ["--with-connection"]),
    ],
)
def test_what_was_registered_is_what_the_command_registers(webhooks, options):
    for age, webhook in enumerate(reversed(webhooks)):
        register(webhook, registered_at=ago(hours=age + 2))
    words = shlex.split(finding("never_called")["command"])
    assert words[:3] == ["python", "manage.py", "plugchat_set_webhook"]
    assert sorted(words[3:]) == sorted([*options, "--account", "default", "--wait", "60"])


@pytest.mark.parametrize(("setting", "hours", "is_silent"), [(36, 35, False), (36, 37, True), (72, 70, False)])
def test_silent(plugchat, setting, hours, is_silent):
    plugchat(SILENT_AFTER_HOURS=setting)
    event(received_at=ago(hours=hours))
    event(account="norte")
    register(registered_at=ago(days=9))
    assert problems() == ["silent"] * is_silent
    assert problems("norte") == ["unknown_secret"]


def test_a_repetition_is_not_silence():
    event(received_at=ago(days=20))
    repeated = event(received_at=ago(hours=23))
    repeated.last_received_at = ago(hours=1)
    repeated.save()
    assert report()["default"]["last_callback"] == repeated.last_received_at.isoformat()


def test_silence_without_time_zone_support(settings):
    settings.USE_TZ = False
    event(received_at=datetime.now() - timedelta(days=15))
    register(registered_at=datetime.now() - timedelta(days=20))
    succeeded, output = run()
    assert not succeeded
    assert "! silent" in output


# The channel


@pytest.mark.usefixtures("one_account")
def test_an_instance_that_is_disconnected():
    connection = connect(False)
    assert problems() == ["disconnected"]
    assert "disconnected since" in run()[1]
    connection.is_connected = True
    connection.save()
    assert problems() == []
    assert "connected since" in run()[1]


@pytest.mark.usefixtures("one_account")
def test_the_connection_of_an_instance_that_was_replaced(plugchat):
    connect(False, instance_id="old")
    plugchat(ACCOUNTS={"default": {"WEBHOOK_SECRETS": [SECRET], "PROVIDER": "z-api", "INSTANCE": "mine"}})
    assert problems() == []
    connect(False, instance_id="mine")
    assert problems() == ["disconnected"]


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(
    ("webhooks", "minutes", "outcome", "found"),
    [
        # No callback says that it is connected again: what goes out does.
        (["whenDisconnecting"], 30, "sent", []),
        (["whenDisconnecting"], 119, "sent", ["disconnected"]),
        (["whenDisconnecting"], 30, "failed", ["disconnected"]),
        (["whenDisconnecting", "update-webhook-connected"], 30, "sent", ["disconnected"]),
    ],
)
def test_an_account_that_is_told_of_disconnecting_alone(webhooks, minutes, outcome, found):
    connect(False)
    for webhook in webhooks:
        register(webhook, registered_at=ago(days=3))
    rows.DeliveryEvent.objects.all().delete()
    event(outcome=outcome, error="Timeout on send message", received_at=ago(minutes=minutes))
    assert problems() == found


@pytest.mark.parametrize(("instance", "found"), [("mine", []), ("other", ["other_instance"]), ("", [])])
def test_callbacks_of_another_instance(plugchat, instance, found):
    plugchat(ACCOUNTS={"default": {"WEBHOOK_SECRETS": [SECRET], "PROVIDER": "z-api", "INSTANCE": "mine"}})
    event(instance_id=instance)
    assert problems() == found


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(
    ("webhook", "days", "status_days_ago", "found"),
    [
        ("update-webhook-message-status", 10, None, ["statuses_silent"]),
        ("messageStatus", 10, None, ["statuses_silent"]),
        ("messageStatus", 10, 11, ["statuses_silent"]),
        ("messageStatus", 10, 9, []),
        # A new one, and a site that did not register them.
        ("messageStatus", 0.9, None, []),
        ("update-webhook-delivery", 10, None, []),
    ],
)
def test_statuses_that_never_come(webhook, days, status_days_ago, found):
    register(webhook, registered_at=ago(days=days))
    if status_days_ago:
        rows.status("received", "M", received_at=ago(days=status_days_ago))
    assert problems() == found


def test_nobody_misses_statuses_where_nothing_is_sent(plugchat, settings):
    plugchat(ACCOUNTS={"default": settings.PLUGCHAT["ACCOUNTS"]["default"]})
    register("messageStatus", registered_at=ago(days=10))
    event(received_at=ago(hours=30))
    event(outcome="failed", error="Timeout on send message")
    assert problems() == []


def send(number, received, **age):
    for n in range(number):
        message = f"{age}-{n}"
        event(message_id=message, received_at=ago(**age), dispatch_status=Status.DONE)
        if n < received:
            rows.status("read", message, received_at=ago(**age), dispatch_status=Status.DONE)


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(
    ("before", "lately", "found"),
    [
        ((20, 19), (20, 9), ["undelivered"]),
        ((20, 19), (20, 10), []),
        ((20, 19), (19, 1), []),
        # A few say nothing of what is usual; and it was never better.
        ((19, 19), (20, 1), []),
        ((20, 1), (20, 1), []),
        # A site without statuses.
        ((20, 0), (20, 0), []),
    ],
)
def test_messages_that_nobody_receives(before, lately, found):
    send(*before, days=5)
    send(*lately, hours=2)
    assert problems() == found


@pytest.mark.usefixtures("one_account")
def test_messages_of_the_last_hour_may_still_be_received():
    send(20, 19, days=5)
    send(20, 0, minutes=50)
    assert problems() == []


# This host


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(("seconds", "found"), [(0, []), (29, []), (31, ["clocks"]), (-31, ["clocks"])])
def test_clocks_that_differ(monkeypatch, seconds, found):
    now = time.time
    monkeypatch.setattr(findings, "CLOCKS", {connection.vendor: repr(now() + seconds)})
    assert [each.name for each in of_this_host()] == found
    succeeded, output = run()
    assert succeeded == (not found)
    assert ("This host" in output) == bool(found)
    assert [each["name"] for each in json.loads(run("--json")[1])["findings"]] == found


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("one_account")
def test_callbacks_that_wait_in_the_spool(plugchat, tmp_path):
    plugchat(SPOOL_DIR=str(tmp_path / "spool"))
    assert of_this_host() == []
    assert spool.keep(b"{}", spool.Receipt("default", secret_id(SECRET), ago(minutes=4)))
    assert of_this_host() == []
    assert json.loads(run("--json")[1])["spool"]["waiting"] == 1
    assert spool.keep(b"{}", spool.Receipt("default", secret_id(SECRET), ago(minutes=6)))
    (found,) = of_this_host()
    assert found.name == "spooled"
    assert "spool: 2, since" in found.text
    assert found.command == "python manage.py plugchat_redispatch"
    for path in spool.paths():
        spool.put_aside(path)
    (found,) = of_this_host()
    assert "set aside in this host's spool: 2" in found.text


def test_a_spool_that_can_not_be_used(plugchat, tmp_path):
    (tmp_path / "file").touch()
    plugchat(SPOOL_DIR=str(tmp_path / "file" / "spool"))
    (found,) = of_this_host()
    assert found.name == "spooled"
    assert str(tmp_path) in found.text


def test_the_database_is_asked_its_time():
    assert of_this_host() == []


# Failures


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(("failed", "sent", "applies"), [(11, 8, True), (10, 9, False), (18, 0, False), (19, 0, True)])
def test_failures(failed, sent, applies):
    events(failed, outcome="failed")
    events(sent, dispatch_status=Status.DONE)
    events(30, outcome="failed", received_at=ago(hours=25))
    # They say nothing about how many were sent.
    events(30, outcome="read", type="MessageStatusCallback")
    assert problems() == ["failures"] * applies


@pytest.mark.usefixtures("one_account")
def test_why_messages_failed():
    events(12, outcome="failed", error="WHATSAPP rejected sending this message.")
    events(3, outcome="failed", error="any", error_code="SHADOW_BAN")
    events(4, outcome="failed", error="Phone number does not exist")
    events(5, outcome="failed", error="Nobody has seen this one")
    assert report()["default"]["last_24_hours"]["failures"] == {"restricted": 15, "other": 5, "number": 4}
    assert "15 of 24" in finding("failures")["text"]


@pytest.mark.usefixtures("one_account")
def test_a_failure_of_a_later_version_is_told_as_it_is():
    events(20, outcome="failed", failure="unheard")
    assert "unheard, 20 of 20" in finding("failures")["text"]


# Dispatches


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(("minutes", "applies"), [(9, False), (11, True)])
@pytest.mark.parametrize("of_status", [Status.PENDING, Status.RUNNING, Status.RETRYING])
def test_overdue(of_status, minutes, applies):
    event(dispatch_status=of_status, dispatch_due_at=ago(minutes=minutes))
    assert problems() == ["overdue"] * applies


@pytest.mark.usefixtures("one_account")
def test_what_waits_in_a_queue_is_counted():
    event(received_at=ago(minutes=50), dispatch_status=Status.PENDING, dispatch_due_at=ago(minutes=-50))
    assert report()["default"]["dispatch"]["pending"] == 1
    assert problems() == []
    event(received_at=ago(minutes=70), dispatch_status=Status.PENDING, dispatch_due_at=ago(minutes=-50))
    assert problems() == ["waiting"]


@pytest.mark.usefixtures("one_account")
def test_exhausted():
    event(received_at=ago(hours=30), dispatch_status=Status.EXHAUSTED)
    assert problems() == ["exhausted"]


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(("failed", "found"), [(True, ["retrying"]), (False, [])])
def test_a_receiver_that_raises_is_seen_and_one_that_asks_to_be_told_again_is_not(failed, found):
    event(dispatch_status=Status.RETRYING, dispatch_due_at=ago(minutes=-5), dispatch_failed=failed)
    assert problems() == found
    commands = [each["command"] for each in report()["default"]["findings"]]
    assert commands == ["python manage.py plugchat_redispatch --now" for _name in found]


@pytest.mark.usefixtures("receiver", "one_account")
@pytest.mark.parametrize(("hours", "found"), [(23, ["no_receiver"]), (25, [])])
def test_an_event_without_a_receiver_where_there_is_one(hours, found):
    event(received_at=ago(hours=hours))
    assert problems() == found


@pytest.mark.usefixtures("receiver", "one_account")
def test_the_command_for_what_no_receiver_heard_takes_all_that_was_counted():
    event(received_at=ago(hours=23, minutes=59))
    event(outcome="read")
    day = timezone.localtime(ago(hours=24)).date()
    # Whoever reads it in the admin may have a time zone in which that is another day.
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        with timezone.override(zone):
            command = finding("no_receiver")["command"]
        assert command == f"python manage.py plugchat_redispatch --include-none --since {day.isoformat()}"
    call_command(*shlex.split(command)[2:], stdout=StringIO())
    assert problems() == []


# Rejected callbacks


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(("hours", "applies"), [(23, True), (25, False)])
def test_rejected(hours, applies):
    rejected(received_at=ago(hours=100), last_received_at=ago(hours=hours))
    assert problems() == ["rejected"] * applies


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(("limit", "applies"), [(1, True), (2, True), (3, False), (0, False)])
def test_rejected_full(plugchat, limit, applies):
    plugchat(MAX_REJECTED=limit)
    for _ in range(2):
        rejected(received_at=ago(hours=100))
    assert problems() == ["rejected_full"] * applies


@pytest.mark.usefixtures("one_account")
def test_a_status_that_nobody_knows_is_counted_apart(plugchat):
    plugchat(MAX_REJECTED=1)
    rejected(reason=RejectedCallback.Reason.UNKNOWN_STATUS)
    assert problems() == ["unknown_status"]
    RejectedCallback.objects.update(last_received_at=ago(hours=25))
    assert problems() == []
    assert "1 kept" in run()[1]


# Secrets


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(
    ("secret", "days", "found"),
    [(SECRET, 0, []), (RETIRING, 0, ["retiring_secret"]), (RETIRING, 2, []), (REMOVED, 0, ["unknown_secret"])],
)
def test_secrets(secret, days, found):
    event(received_at=ago(days=days, minutes=1), secret_id=secret_id(secret))
    assert problems() == found
    _succeeded, output = run()
    assert (secret_id(secret) in output) == bool(found)


@pytest.mark.parametrize(("days", "found"), [(2, ["retiring_secret"]), (4, [])])
def test_the_secret_of_an_account_that_is_seldom_called(days, found):
    events(3, received_at=ago(days=days + 2))
    event(received_at=ago(days=days), secret_id=secret_id(RETIRING))
    assert [name for name in problems() if name != "silent"] == found


# Accounts


def test_accounts_that_are_no_longer_configured_are_shown():
    old = {"received_at": ago(days=100), "secret_id": secret_id(REMOVED)}
    event(account="default")
    event(account="norte", dispatch_status=Status.DONE, secret_id=secret_id("secret-of-the-account-norte"))
    for account in ("sul", "sul", "leste", "zona-azul", "a-loja"):
        event(account=account, **old)
    rejected(account="oeste", **old)
    register(account="centro")
    assert list(report()) == ["default", "norte", "a-loja", "centro", "leste", "oeste", "sul", "zona-azul"]
    assert report()["sul"]["configured"] is False
    succeeded, output = run()
    assert succeeded
    assert "sul, no longer configured" in output.splitlines()


def test_an_account_that_was_removed_though_it_is_called():
    event(account="sul", secret_id=secret_id(REMOVED))
    assert problems("sul") == ["unknown_secret"]
    assert finding("unknown_secret", "sul")["command"] == ""


def test_nothing_vanishes_where_the_database_ignores_case(plugchat, settings):
    plugchat(ACCOUNTS={"Default": settings.PLUGCHAT["ACCOUNTS"]["default"]})
    event(account="Default", received_at=ago(days=9), dispatch_status=Status.DONE)
    event(dispatch_status=Status.EXHAUSTED)
    assert sum(found["dispatch"]["exhausted"] for found in report().values()) == 1


# The report as a whole


def test_neither_secrets_nor_personal_data_are_told(settings):
    event(error=EXAMPLE["phone"], payload=EXAMPLE, secret_id=secret_id(RETIRING), dispatch_error=EXAMPLE["phone"])
    rejected(EXAMPLE["phone"].encode())
    told = run()[1] + run("--json")[1]
    for account in settings.PLUGCHAT["ACCOUNTS"].values():
        for secret in [account["TOKEN"], *account["WEBHOOK_SECRETS"]]:
            assert secret not in told
    assert EXAMPLE["phone"] not in told
    assert "A20DA9C0" not in told


@pytest.mark.usefixtures("one_account")
def test_what_programs_read_is_the_same_in_every_language():
    event(dispatch_status=Status.EXHAUSTED)
    (in_english,) = statuses()
    with override("pt-br"):
        output = StringIO()
        with suppress(CommandError):
            call_command("plugchat_status", "--json", stdout=output)
    (account,) = json.loads(output.getvalue())["accounts"]
    assert account["problems"] == [each.name for each in in_english.findings] == ["exhausted"]


@pytest.mark.parametrize("number", [1, 40])
def test_statements_do_not_grow_with_rows_nor_accounts(plugchat, number):
    plugchat(ACCOUNTS={f"account-{n}": {"WEBHOOK_SECRETS": [f"{SECRET}-{n}"]} for n in range(number)})
    for n in range(number):
        events(number, account=f"account-{n}", received_at=ago(days=5))
        rejected(account=f"account-{n}")
    accounts.label("account-0")
    with CaptureQueriesContext(connection) as queries:
        statuses()
    # Newest, a day, dispatches, received, rejected, registrations, connections; accounts, their secrets, new ones; and
    # on PostgreSQL those that switch its compiler off and on again.
    assert len(queries) == 10 + 3 * (connection.vendor == "postgresql")


def test_one_account_and_those_with_problems(plugchat):
    event(dispatch_status=Status.DONE)
    event(account="sul", dispatch_status=Status.DONE)
    rejected(account="leste")
    _succeeded, output = run("--problems")
    assert output.startswith("norte\n")
    assert "Loja Centro" not in output
    succeeded, output = run("--account", "default")
    assert succeeded
    assert output.startswith("Loja Centro (default)\n")
    assert "norte" not in output
    assert run("--account", "default", "--problems") == (True, "Nothing needs a person.\n")
    assert run("--account", "oeste") == (False, "")
    (found,) = json.loads(run("--json", "--account", "leste")[1])["accounts"]
    assert found["account"] == "leste"


def test_when_each_webhook_was_first_and_last_called():
    for webhook in ("sendingMessage", "messageStatus", "whenDisconnecting"):
        register(webhook, registered_at=ago(hours=9))
    moments = [event(received_at=ago(hours=hours)).received_at for hours in (10, 8, 7)]
    (account,) = statuses(["default"])
    last = {each.webhook: account.figures.last_call(each) for each in account.figures.registrations}
    assert last == {"sendingMessage": moments[2], "messageStatus": None, "whenDisconnecting": None}
    assert first_calls(["default"]) == {
        ("default", "sendingMessage"): moments[1],
        ("default", "messageStatus"): None,
        ("default", "whenDisconnecting"): None,
    }
    connect(reported_at=moments[2])
    (account,) = statuses(["default"])
    assert account.figures.last_call(account.figures.registrations[-1]) == moments[2]


def test_an_account_of_the_database():
    accounts.add("lua", label="Loja Lua")
    old, new = (secret_id(accounts.new_secret("lua")) for _ in range(2))
    event(account="lua", secret_id=new, dispatch_status=Status.DONE)
    assert problems("lua") == []
    event(account="lua", secret_id=old, dispatch_status=Status.DONE)
    assert problems("lua") == ["retiring_secret"]
    assert report()["lua"]["label"] == "Loja Lua"


# Prometheus


def test_prometheus_reads_it(plugchat):
    plugchat(ACCOUNTS={'Loja "do" João\\': {"WEBHOOK_SECRETS": [SECRET]}, "norte": {}})
    fields = {"account": 'Loja "do" João\\'}
    event(**fields, outcome="failed", error="Timeout on send message", dispatch_status=Status.DONE)
    rows.status("read", "M", **fields, dispatch_status=Status.DONE)
    event(**fields, dispatch_status=Status.RETRYING, dispatch_due_at=ago(minutes=-5), dispatch_failed=True)
    connect(False, **fields)
    succeeded, output = run("--prometheus")
    assert not succeeded
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(output)
        for sample in family.samples
    }
    account = ("account", fields["account"])
    assert samples["plugchat_finding", account, ("finding", "disconnected")] == 1
    assert samples["plugchat_connected", account] == 0
    assert [key for key in samples if ("account", "norte") in key] == [
        ("plugchat_finding", ("account", "norte"), ("finding", "never_called"))
    ]
    assert samples["plugchat_deliveries_24h", account, ("outcome", "failed")] == 1
    assert samples["plugchat_statuses_24h", account, ("outcome", "read")] == 1
    assert samples["plugchat_failures_24h", account, ("kind", "temporary")] == 1
    assert samples["plugchat_events", account, ("state", "retrying")] == 1
    for name in ("checked", "last_callback", "next_retry"):
        (moment,) = (value for (metric, *_labels), value in samples.items() if metric.startswith(f"plugchat_{name}_"))
        assert moment == pytest.approx(time.time(), abs=600)


def test_prometheus_where_all_is_well(plugchat, monkeypatch):
    plugchat(ACCOUNTS={})
    assert [family.name for family in text_string_to_metric_families(run("--prometheus")[1])] == [
        "plugchat_checked_timestamp_seconds"
    ]
    monkeypatch.setattr(findings, "CLOCKS", {connection.vendor: "0"})
    assert 'plugchat_finding{account="",finding="clocks"} 1.0\n' in run("--prometheus")[1]


# django-health-check


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize("is_well", [True, False])
def test_an_uptime_robot_reads_what_is_wrong_and_of_no_account(rf, is_well):
    if not is_well:
        rejected()
        event(dispatch_status=Status.EXHAUSTED)
    view = HealthCheckView.as_view(checks=["django_plugchat.upkeep.health.PlugChat"])
    response = asyncio.run(view(rf.get("/", {"format": "text"})))
    assert response.status_code == (200 if is_well else 500)
    said = "OK" if is_well else "Unexpected Result: exhausted, rejected"
    assert response.content.decode() == f"PlugChat(): {said}\n"
