import gzip
import json
import sys
import zlib
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models.signals import post_delete

from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.phones.numbers import normalise
from django_plugchat.upkeep import erasure, spooled

from .databases import Interrupt, raising
from .notations import INTERNATIONAL, LID, NATIONAL, NUMBER, OTHERS, SOMEBODY_ELSE, TEXTS, WITHOUT_NINTH_DIGIT
from .rows import event, events, left, rejected, status

pytestmark = pytest.mark.django_db


def forget(*args, **options):
    output = StringIO()
    call_command("plugchat_forget", *args, stdout=output, **options)
    return output.getvalue().splitlines()


def counts(lines):
    """How many events, rejected callbacks and entries of the admin's history the first three lines tell of."""
    return [next(int(word) for word in line.split() if word.isdigit()) for line in lines[:3]]


def stored(phone, **fields):
    """As recording stores it."""
    return event(phone=phone[:64], phone_digits=normalise(phone), payload={"phone": phone}, **fields)


def history(of, *, object_repr="", change_message=""):
    user, _created = User.objects.get_or_create(username="ana")
    return LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(of),
        object_id=str(of.pk),
        object_repr=object_repr,
        action_flag=CHANGE,
        change_message=change_message,
    )


@pytest.mark.parametrize("written", INTERNATIONAL.values(), ids=INTERNATIONAL)
def test_a_number_in_any_notation_is_erased(written):
    stored(written)
    assert counts(forget(NUMBER)) == [1, 0, 0]
    assert not left()


@pytest.mark.parametrize("typed", INTERNATIONAL.values(), ids=INTERNATIONAL)
def test_the_number_to_forget_in_any_notation(typed):
    if "1623281429" in typed:
        with pytest.raises(CommandError):
            forget(typed)
        return
    event(phone=NUMBER)
    event(phone=WITHOUT_NINTH_DIGIT)
    other = event(phone=SOMEBODY_ELSE)
    assert counts(forget(typed)) == [2, 0, 0]
    assert left() == {other.pk}


def test_a_number_in_several_words():
    event(phone=NUMBER)
    assert counts(forget("+55", "(44)", "98877-1234"))[0] == 1


@pytest.mark.parametrize(("written", "phone"), [("+376 312 345", "376312345"), ("12025550123", "12025550123")])
def test_numbers_of_other_countries(written, phone):
    event(phone=phone)
    assert counts(forget(written))[0] == 1


def test_a_number_without_its_country_is_not_another_countrys():
    row = stored("(034) 91234-5678")
    of_participant = event(
        phone="120363019502650977-group", participant="034912345678", participant_digits="34912345678"
    )
    assert row.phone_digits == "34912345678"
    assert counts(forget("+34 912 345 678", "--national")) == [0, 0, 0]
    assert left() == {row.pk, of_participant.pk}
    assert counts(forget("+55 34 91234-5678", "--national")) == [2, 0, 0]


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Maria",
        "98877-1234",
        "(44) 98877-1234",
        "044 98877-1234",
        "+0 44 98877-1234",
        "+1234567",
        "1774895799-broadcast",
        "@lid",
        "120363019502650977-group",
        f"{NUMBER}, {SOMEBODY_ELSE}",
    ],
)
def test_what_is_no_full_number_is_refused_without_repeating_it(written):
    kept = event(phone="44988771234")
    with pytest.raises(CommandError, match="country code") as error:
        forget(written)
    assert "1234" not in str(error.value)
    assert left() == {kept.pk}


@pytest.mark.parametrize("line", [f"{NUMBER}\n", "+55 44 98877-1234"])
def test_the_number_from_standard_input(monkeypatch, line):
    monkeypatch.setattr(sys, "stdin", StringIO(line))
    event(phone=NUMBER)
    assert counts(forget("-"))[0] == 1


def test_nothing_on_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", StringIO())
    with pytest.raises(CommandError):
        forget("-")


@pytest.mark.parametrize(
    "fields",
    [
        {"participant": f"{NUMBER}@c.us"},
        {"zaap_id": NUMBER},
        {"custom_id": f"order-{NUMBER}-1"},
        {"message_id": f"true_{NUMBER}@c.us_3EB0"},
        {"instance_id": NUMBER},
        {"error": f"Phone {NUMBER} does not exist"},
        {"error_code": NUMBER},
        {"dispatch_error": f"shop.receivers.tell: {NUMBER}"},
        {"payload": {"phone": NUMBER}},
        {"payload": {"participant": int(NUMBER)}},
        {"payload": {"participant": -int(NUMBER)}},
        {"payload": {"participant": float(NUMBER)}},
        {"payload": {NUMBER: None}},
        {"payload": {"a": [1, {"b": [True, 0.5, f"to {WITHOUT_NINTH_DIGIT}."]}]}},
        {"payload": {"phone": "5.544988771234e12"}},
        {"payload": [NUMBER]},
        {"payload": NUMBER},
        *({"error": text} for text in TEXTS.values()),
    ],
)
def test_events_that_mention_the_number(fields):
    event(**{"phone": SOMEBODY_ELSE, **fields})
    other = event(phone=SOMEBODY_ELSE)
    assert counts(forget(NUMBER, dry_run=True)) == [1, 0, 0]
    assert counts(forget(NUMBER)) == [1, 0, 0]
    assert left() == {other.pk}
    assert counts(forget(NUMBER)) == [0, 0, 0]


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_what_is_somebody_elses_stays(text):
    event(phone=text, phone_digits="", custom_id=text, error=text, dispatch_error=text, payload={text: [text]})
    rejected(json.dumps({"phone": text, text: [text]}).encode())
    assert counts(forget(NUMBER, "--national")) == [0, 0, 0]


@pytest.mark.parametrize("number", [f"{NUMBER}1", f"1{NUMBER}", f"0.{NUMBER}", f"12.{NUMBER}", f"{NUMBER}e1"])
def test_other_numbers_of_json_stay(number):
    event(phone=SOMEBODY_ELSE, payload=json.loads(number))
    rejected(f'{{"n": {number}}}'.encode())
    rejected(f'{{"n": {number}'.encode()) if "e1" not in number else None
    assert counts(forget(NUMBER)) == [0, 0, 0]


def test_a_landline_has_one_form():
    mobile = event(phone="5544933334444")
    event(phone="554433334444")
    assert counts(forget("554433334444"))[0] == 1
    assert left() == {mobile.pk}


@pytest.mark.parametrize("text", NATIONAL.values(), ids=NATIONAL)
def test_numbers_without_their_country_are_named_and_erased_when_asked_for(text):
    row = stored(text)
    other = event(phone=SOMEBODY_ELSE)
    said = forget(NUMBER)
    assert counts(said) == [0, 0, 0]
    assert [line for line in said if f": {row.pk}." in line and "--national" in line]
    assert left() == {row.pk, other.pk}
    assert counts(forget(NUMBER, "--national", "--dry-run")) == [1, 0, 0]
    said = forget(NUMBER, "--national")
    assert counts(said) == [1, 0, 0]
    assert "--national" not in "".join(said)
    assert left() == {other.pk}


def test_of_many_without_their_country_some_are_named():
    rows = events(25, phone="44988771234")
    (line,) = [line for line in forget(NUMBER) if "--national" in line]
    assert str(rows[0].pk) in line
    assert f"{rows[24].pk}." not in line
    assert "25" in line


HOLDING = json.dumps({"phone": NUMBER, "text": "é" * 50}).encode()


def raw_deflate(body):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize(
    "body",
    [
        HOLDING,
        json.dumps({"phone": int(WITHOUT_NINTH_DIGIT)}).encode(),
        b'{"phone": 5.544988771234e12}',
        json.dumps({"deep": [{NUMBER: 1}]}).encode(),
        f'{{"phone": "{NUMBER}'.encode(),
        f'{{"phone": "{NUMBER}", "phone": "x"}}'.encode(),
        f"é{NUMBER}".encode("latin-1"),
        b'{"phone": "\\u0035544988771234"',
        b"[" * 5000 + NUMBER.encode(),
        gzip.compress(HOLDING),
        gzip.compress(b"{}") + gzip.compress(HOLDING),
        gzip.compress(HOLDING)[:-8] + b"12345678",  # another checksum
        gzip.compress(HOLDING)[:-8],
        gzip.compress(b" " * 3_000_000 + HOLDING),
        gzip.compress(HOLDING) + b"more",
        gzip.compress(gzip.compress(HOLDING)),
        zlib.compress(HOLDING),
        raw_deflate(HOLDING),
    ],
)
def test_rejected_bodies_that_hold_the_number(body):
    rejected(body)
    kept = rejected(b'{"phone": "5511988887777", "n": 1e999, "b": null}')
    assert counts(forget(NUMBER, dry_run=True)) == [0, 1, 0]
    assert counts(forget(NUMBER)) == [0, 1, 0]
    assert left(RejectedCallback) == {kept.pk}


def test_a_rejected_body_that_can_not_be_read_to_its_end_is_named():
    row = rejected(gzip.compress(b" " * 17_000_000))
    assert [line for line in forget(NUMBER) if f": {row.pk}." in line and "--national" in line]


def test_a_rejected_body_with_the_national_form():
    row = rejected(b'{"phone": "(44) 98877-1234"}')
    assert [line for line in forget(NUMBER) if f": {row.pk}." in line]
    assert counts(forget(NUMBER, "--national")) == [0, 1, 0]


# What the app ties to the person by the messages that they got


@pytest.mark.parametrize(
    ("given", "other"), [(NUMBER, f"{LID}@lid"), (f"{LID}@lid", NUMBER), (NUMBER, LID), (LID, NUMBER)]
)
@pytest.mark.parametrize("delivered", [True, False])
def test_the_other_events_of_the_same_message(given, other, delivered):
    phones = (given, other) if delivered else (other, given)
    event(phone=phones[0], zaap_id="Z-1", message_id="M-1")
    event(phone=other, zaap_id="Z-1", message_id="M-2")
    status("received", "M-1", phone=phones[1])
    status("read", "M-1", phone=other)
    kept = [
        event(phone=SOMEBODY_ELSE, zaap_id="Z-2", message_id="M-3"),
        status("read", "M-1", phone=other, account="norte"),
        status("read", "M-4", phone=SOMEBODY_ELSE),
    ]
    assert counts(forget(given, "--dry-run"))[0] == counts(forget(given))[0] == 4
    assert left() == {row.pk for row in kept}


def test_other_names_are_told_masked_with_what_to_run_next():
    event(phone=NUMBER, zaap_id="Z-1", message_id="M-1")
    status("read", "M-1", phone=f"{LID}@lid")
    more = status("read", "M-2", phone=f"{LID}@lid")
    said = forget(NUMBER)
    (line,) = [line for line in said if "****46@lid" in line]
    assert f"Event {more.pk}" in line
    assert "plugchat_forget" in line
    assert LID not in "".join(said)
    assert counts(forget(f"{LID}@lid"))[0] == 1
    assert not left()


def test_another_name_that_nothing_else_has():
    event(phone=NUMBER, zaap_id="Z-1", message_id="M-1")
    status("read", "M-1", phone=f"{LID}@lid")
    (line,) = [line for line in forget(NUMBER) if "****46@lid" in line]
    assert "No other event" in line


def test_messages_of_groups_stay_but_for_the_participant():
    group = "120363019502650977-group"
    kept = [
        event(phone=group, message_id="M-1"),
        status("read", "M-1", phone=group, participant=SOMEBODY_ELSE),
        status("read", "M-1", phone=group, participant=f"{LID}@lid"),
        status("read", "M-1", phone="1774895799-broadcast"),
    ]
    status("read", "M-1", phone=group, participant=NUMBER)
    event(phone=NUMBER, message_id="M-1")
    assert counts(forget(NUMBER))[0] == 2
    assert left() == {row.pk for row in kept}
    assert counts(forget(f"{LID}@lid"))[0] == 1


def test_ids_that_somebody_made_up_for_several_numbers_tie_nobody():
    event(phone=NUMBER, zaap_id="1", message_id="1")
    kept = event(phone=SOMEBODY_ELSE, zaap_id="1", message_id="1")
    assert counts(forget(NUMBER))[0] == 1
    assert left() == {kept.pk}


def test_a_message_that_only_mentions_the_number_ties_nobody():
    event(phone=SOMEBODY_ELSE, zaap_id="Z-1", message_id="M-1", custom_id=NUMBER)
    kept = status("read", "M-1", phone=f"{LID}@lid")
    assert counts(forget(NUMBER))[0] == 1
    assert left() == {kept.pk}


def test_the_national_form_ties_where_it_is_erased():
    event(phone="44 98877-1234", zaap_id="Z-1", message_id="M-1")
    status("read", "M-1", phone=f"{LID}@lid")
    assert counts(forget(NUMBER))[0] == 0
    assert counts(forget(NUMBER, "--national"))[0] == 2
    assert not left()


@pytest.mark.parametrize("stored", [f"{LID}@lid", LID])
@pytest.mark.parametrize("given", [f"{LID}@lid", LID])
def test_a_privacy_id(stored, given):
    event(phone=stored)
    status("read", "M-1", phone="120363019502650977-group", participant=stored)
    event(phone=SOMEBODY_ELSE, payload={"to": f"x {stored}"})
    rejected(json.dumps({"phone": stored}).encode())
    kept = event(phone=SOMEBODY_ELSE)
    assert counts(forget(given)) == [3, 1, 0]
    assert left() == {kept.pk}


# The admin's history keeps who did what, without the number


def test_the_history_of_the_admin():
    row = event(phone=SOMEBODY_ELSE)
    entry = history(row, object_repr=f"Z1 +55 44 98877-1234 ({NUMBER})", change_message=f'[{{"changed": "{NUMBER}"}}]')
    other = history(row, object_repr=f"Z2 {SOMEBODY_ELSE}")
    elsewhere = history(User.objects.get(), object_repr=NUMBER)
    assert counts(forget(NUMBER, "--dry-run")) == [0, 0, 1]
    assert counts(forget(NUMBER)) == [0, 0, 1]
    assert counts(forget(NUMBER)) == [0, 0, 0]
    for unchanged in (other, elsewhere):
        before = unchanged.object_repr
        unchanged.refresh_from_db()
        assert unchanged.object_repr == before
    entry.refresh_from_db()
    assert entry.object_repr == "Z****)"  # the 1 is a digit beside it
    assert entry.change_message == '[{"changed": "****"}]'
    assert entry.user.username == "ana"


def test_the_national_form_in_the_history_of_the_admin():
    entry = history(event(phone=SOMEBODY_ELSE), object_repr="44988771234")
    assert [line for line in forget(NUMBER) if f": {entry.pk}." in line]
    assert counts(forget(NUMBER, "--national")) == [0, 0, 1]


def test_without_the_admin(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"]
    event(phone=NUMBER)
    assert counts(forget(NUMBER)) == [1, 0, 0]


# What waits in this host's spool


@pytest.fixture
def spool_of(plugchat, tmp_path):
    """Files of the spool, by their names; "aside/…" were set aside."""
    folder = tmp_path / "spool"
    plugchat(SPOOL_DIR=str(folder))

    def fill(files):
        (folder / "aside").mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)

    fill.files = lambda: {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    fill.folder = folder
    return fill


def test_the_spool(spool_of):
    header = b'{"account": "default", "secret_id": "01234567"}\n'
    spool_of(
        {
            "ours": header + HOLDING,
            "compressed": header + gzip.compress(HOLDING),
            "another's": header + json.dumps({"phone": SOMEBODY_ELSE}).encode(),
            "without the country": header + b'{"phone": "(44) 98877-1234"}',
            "aside/ours": header + HOLDING,
        }
    )
    before = spool_of.files()
    assert "Callbacks in the spool: 3" in forget(NUMBER, "--dry-run")
    assert spool_of.files() == before
    said = forget(NUMBER)
    assert "Callbacks in the spool: 3" in said
    assert [line for line in said if str(spool_of.folder) in line]
    assert [line for line in said if ": without the country." in line and "--national" in line]
    assert spool_of.files() == {"another's", "without the country"}
    assert "Callbacks in the spool: 1" in forget(NUMBER, "--national")
    assert spool_of.files() == {"another's"}


def test_the_spool_is_looked_through_first_and_stands_still(spool_of, monkeypatch):
    """What moves into the database meanwhile is found there."""
    spool_of({"1-a": b"{}\n" + HOLDING})
    began, drained = [], []
    erase = erasure.erase
    monkeypatch.setattr(erasure, "erase", lambda *args, **kw: began.append(spool_of.files()) or erase(*args, **kw))
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path: drained.append(spooled.drain()) or unlink(path))
    forget(NUMBER)
    assert (began, drained) == ([set()], [0])


def test_a_spool_that_can_not_be_looked_through_is_an_error(spool_of):
    spool_of.folder.write_text("no folder")
    event(phone=NUMBER)
    with pytest.raises(CommandError, match="The spool can't be used"):
        forget(NUMBER)
    assert left()


def test_without_a_spool():
    assert "spool" not in "".join(forget(NUMBER))


# The command


def test_many_batches(monkeypatch):
    monkeypatch.setattr(erasure, "SCAN_BATCH", 2)
    keep = {row.pk for row in events(3, phone=SOMEBODY_ELSE)}
    events(5, phone=NUMBER)
    keep |= {row.pk for row in events(2, phone=SOMEBODY_ELSE)}
    events(4, phone=SOMEBODY_ELSE, error=NUMBER)
    for body in [b"1", NUMBER.encode(), NUMBER.encode(), b"2", NUMBER.encode()]:
        rejected(body)
    assert counts(forget(NUMBER)) == [9, 3, 0]
    assert left() == keep
    assert len(left(RejectedCallback)) == 2


def test_says_what_it_can_not_reach_and_never_the_number():
    event(phone=NUMBER, payload={"phone": NUMBER})
    log = StringIO()
    said = forget(NUMBER, stderr=log)
    for word in ("backups", "logs", "exported files", "@lid"):
        assert word in said[-1]
    assert NUMBER[-8:] not in "".join(said) + log.getvalue()


def test_what_comes_meanwhile_is_left_so_that_it_ends(monkeypatch):
    monkeypatch.setattr(erasure, "SCAN_BATCH", 2)
    events(5, phone=NUMBER)

    def come_again(**kwargs):
        event(phone=NUMBER)

    post_delete.connect(come_again, sender=DeliveryEvent)
    try:
        assert counts(forget(NUMBER))[0] == 5
    finally:
        post_delete.disconnect(come_again, sender=DeliveryEvent)
    assert len(left()) == 5


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_with_a_callback_is_tried_again():
    events(3, phone=NUMBER)
    with connection.execute_wrapper(Interrupt("DELETE", raising(OperationalError(1213, "Deadlock found")), times=2)):
        assert counts(forget(NUMBER))[0] == 3


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_run_says_what_it_did_and_can_be_run_again(monkeypatch):
    monkeypatch.setattr(erasure, "SCAN_BATCH", 2)
    events(5, phone=NUMBER)
    output = StringIO()
    interrupt = Interrupt("DELETE", raising(KeyboardInterrupt()), after=1)
    with connection.execute_wrapper(interrupt), pytest.raises(CommandError, match="Interrupted") as interrupted:
        call_command("plugchat_forget", NUMBER, stdout=output)
    assert interrupted.value.returncode == 130
    assert counts(output.getvalue().splitlines()) == [2, 0, 0]
    assert counts(forget(NUMBER)) == [3, 0, 0]
