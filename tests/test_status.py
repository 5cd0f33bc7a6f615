from __future__ import annotations

import json
import shlex
from contextlib import suppress
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.translation import override

from django_plugchat.conf import secret_id
from django_plugchat.models import Registration
from django_plugchat.signals import delivery_recorded
from django_plugchat.upkeep import figures
from django_plugchat.upkeep import findings as status
from django_plugchat.upkeep.findings import statuses
from tests.payloads import EXAMPLE, SECRET
from tests.rows import Status, event, events, rejected

pytestmark = pytest.mark.django_db

RETIRING = "retiring-secret-of-the-default-account"
REMOVED = "a-secret-that-was-removed-long-ago"


@pytest.fixture
def receiver():
    def receiver(**kwargs): ...

    delivery_recorded.connect(receiver)
    yield
    delivery_recorded.disconnect(receiver)


@pytest.fixture
def one_account(plugchat, settings):
    """One that had a callback just now, so that a test sees what it is about and nothing else."""
    plugchat(ACCOUNTS={"default": settings.PLUGCHAT["ACCOUNTS"]["default"]})
    event(dispatch_status=Status.DONE)


def ago(**duration):
    return timezone.now() - timedelta(**duration)


def register(webhook="update-webhook-delivery", *, account="default", secret=SECRET, **fields):
    return Registration.objects.create(account=account, webhook=webhook, secret_id=secret_id(secret), **fields)


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
    event(dispatch_status=Status.RETRYING, dispatch_due_at=next_retry, dispatch_error="shop.paid: ValueError")
    event(dispatch_status=Status.RETRYING, dispatch_due_at=ago(minutes=-9), dispatch_error="shop.paid: KeyError")
    event(dispatch_status=Status.EXHAUSTED)
    event(received_at=ago(hours=25))
    event(type="MessageStatusCallback", outcome="read", secret_id=secret_id(RETIRING), dispatch_status=Status.DONE)
    newest = event(account="norte", secret_id=secret_id("secret-of-the-account-norte"))
    rejected(received_at=ago(hours=25))
    rejected(received_at=ago(hours=25), last_received_at=ago(hours=1))
    registered = register(registered_at=ago(days=3))
    found = report()
    assert list(found) == ["default", "norte"]
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
            "failures": {"temporary": 1},
            "none": 0,
            "rejected": 1,
        },
        "dispatch": {
            "pending": 2,
            "running": 1,
            "retrying": 2,
            "exhausted": 1,
            "none": 1,
            "due": 2,
            "overdue": 1,
            "next_retry_at": next_retry.isoformat(),
        },
        "rejected": 2,
        "registrations": [
            {
                "webhook": "update-webhook-delivery",
                "secret_id": secret_id(SECRET),
                "registered_at": registered.registered_at.isoformat(),
            }
        ],
        "problems": ["overdue", "exhausted", "retrying", "rejected", "retiring_secret"],
    }
    assert found["norte"] == {
        "account": "norte",
        "label": "norte",
        "configured": True,
        "last_callback": newest.received_at.isoformat(),
        "last_24_hours": {
            "sent": 1,
            "failed": 0,
            "received": 0,
            "read": 0,
            "played": 0,
            "deliveries": 1,
            "failures": {},
            "none": 1,
            "rejected": 0,
        },
        "dispatch": {
            "pending": 0,
            "running": 0,
            "retrying": 0,
            "exhausted": 0,
            "none": 1,
            "due": 0,
            "overdue": 0,
            "next_retry_at": None,
        },
        "rejected": 0,
        "registrations": [],
        "other_secrets": [],
        "problems": [],
        "findings": [],
    }


def test_people_read_the_same():
    event(
        outcome="failed", error="Timeout on send message", dispatch_status=Status.PENDING, dispatch_due_at=ago(days=1)
    )
    event(dispatch_status=Status.RETRYING, dispatch_due_at=ago(hours=-1), dispatch_error="shop.paid: ValueError")
    rejected()
    register(registered_at=ago(days=3))
    _succeeded, output = run()
    for words in ("registered 3 days ago", "Sent 1", "Not sent 1", "1 of 1 failure", "Waiting 1", "due 1", "1 kept"):
        assert words in output


@pytest.mark.usefixtures("one_account")
def test_problems_are_explained_and_counted():
    event(dispatch_status=Status.EXHAUSTED)
    rejected()
    output = StringIO()
    with pytest.raises(CommandError, match="2 things need a person"):
        call_command("plugchat_status", stdout=output)
    said = [line for line in output.getvalue().splitlines() if line.startswith("!")]
    assert [line.split(":")[0] for line in said] == ["! exhausted", "! rejected"]


# Silence


def test_an_account_that_was_never_called():
    assert problems() == problems("norte") == ["never_called"]
    register(registered_at=ago(minutes=1))
    assert problems() == ["never_called"]
    assert "--account default" in finding("never_called")["command"]


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
    ],
)
def test_what_was_registered_is_what_the_command_registers(webhooks, options):
    for age, webhook in enumerate(reversed(webhooks)):
        register(webhook, registered_at=ago(hours=age))
    words = shlex.split(finding("never_called")["command"])
    assert words[:3] == ["python", "manage.py", "plugchat_set_webhook"]
    assert sorted(words[3:]) == sorted([*options, "--account", "default", "--wait", "60"])


@pytest.mark.parametrize(
    ("days_before_the_last", "hours_since", "is_silent"),
    [
        # Every day: a day and a half.
        (range(1, 14), 35, False),
        (range(1, 14), 37, True),
        # Not at weekends: four days.
        ([1, 2, 3, 4, 7, 8, 9, 10, 11], 95, False),
        ([1, 2, 3, 4, 7, 8, 9, 10, 11], 97, True),
        # Every eighth day: fourteen.
        ([8], 13 * 24, False),
        ([8], 15 * 24, True),
        # On one day alone, or on none of these: fourteen.
        ([], 13 * 24, False),
        ([], 15 * 24, True),
        ([15], 13 * 24, False),
        ([15], 15 * 24, True),
        # Longer than any of these.
        ([12], 29 * 24, True),
    ],
)
def test_silent_for_longer_than_usual(days_before_the_last, hours_since, is_silent):
    last = ago(hours=hours_since)
    event(received_at=last)
    for days in days_before_the_last:
        event(received_at=last - timedelta(days=days, minutes=1))
    event(account="norte")
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


# Dispatches


@pytest.mark.usefixtures("one_account")
@pytest.mark.parametrize(("minutes", "applies"), [(9, False), (11, True)])
@pytest.mark.parametrize("of_status", [Status.PENDING, Status.RUNNING, Status.RETRYING])
def test_overdue(of_status, minutes, applies):
    event(dispatch_status=of_status, dispatch_due_at=ago(minutes=minutes), dispatch_error="shop.paid: TellAgain")
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
@pytest.mark.parametrize(
    ("error", "found"),
    [
        ("shop.receivers.paid: ValueError", ["retrying"]),
        # It only asked to be told again.
        ("shop.receivers.paid: TellAgain", []),
        ("shop.receivers.paid: ValueError\nshop.receivers.sent: TellAgain", ["retrying"]),
    ],
)
def test_a_receiver_that_raises_is_seen(error, found):
    event(dispatch_status=Status.RETRYING, dispatch_due_at=ago(minutes=-5), dispatch_error=error)
    assert problems() == found
    assert [each["command"] for each in report()["default"]["findings"]] == [
        "python manage.py plugchat_redispatch --now" for _name in found
    ]


def test_an_event_without_a_receiver_where_there_is_none():
    event()
    assert problems() == []


@pytest.mark.usefixtures("receiver", "one_account")
@pytest.mark.parametrize(("hours", "found"), [(23, ["no_receiver"]), (25, [])])
def test_an_event_without_a_receiver_where_there_is_one(hours, found):
    event(received_at=ago(hours=hours))
    assert problems() == found


@pytest.mark.usefixtures("receiver", "one_account")
def test_the_command_for_what_no_receiver_heard_names_a_day():
    first = event(received_at=ago(hours=23))
    event(outcome="read")
    day = timezone.localtime(first.received_at).date()
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


def test_every_rule_is_documented(plugchat, receiver):
    plugchat(MAX_REJECTED=1)
    events(20, outcome="failed", secret_id=secret_id(RETIRING))
    event(dispatch_status=Status.EXHAUSTED, secret_id=secret_id(REMOVED))
    for of_status in (Status.PENDING, Status.RETRYING):
        event(received_at=ago(days=1), dispatch_status=of_status, dispatch_due_at=ago(hours=-1))
    event(dispatch_status=Status.PENDING, dispatch_due_at=ago(days=1))
    rejected()
    for account, called in (("norte", 3), ("sul", 90)):
        event(account=account, received_at=ago(days=called), dispatch_status=Status.DONE)
    register(account="norte", registered_at=ago(days=2))
    plugchat(
        ACCOUNTS={alias: {"WEBHOOK_SECRETS": [SECRET, RETIRING]} for alias in ("default", "norte", "sul", "leste")}
    )
    names = {name for account in report().values() for name in account["problems"]}
    documented = {
        line.strip("`") for line in status.__doc__.splitlines() if line.startswith("``") and line.endswith("``")
    }
    assert names == documented


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
    with CaptureQueriesContext(connection) as queries:
        statuses()
    # A day, failures, dispatches under way, given up and unheard, rejected, registrations, newest, accounts after.
    assert len(queries) == 9


def test_a_thousand_accounts_take_a_few_more_statements(plugchat):
    plugchat(ACCOUNTS={f"account-{n}": {"WEBHOOK_SECRETS": [f"{SECRET}-{n}"]} for n in range(1000)})
    event(account="account-999", received_at=ago(days=2))
    with CaptureQueriesContext(connection) as queries:
        found = statuses()
    assert len(queries) == 7 + 2 * 3 + 1
    assert [account.alias for account in found if account.figures.last_callback] == ["account-999"]


def test_not_all_none_events_are_counted(monkeypatch):
    monkeypatch.setattr(figures, "MAX_NONE_COUNTED", 2)
    events(3)
    assert report()["default"]["dispatch"]["none"] == 2
