import io
import json
import socket
from collections import Counter

import pytest
import requests
from django.core.management import CommandError, call_command

from django_plugchat.management import simulation
from django_plugchat.management.commands.plugchat_simulate import Command
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.callbacks import CONNECTION_CALLBACKS
from django_plugchat.provider.errors import Failure, kind_of

from .payloads import SECRET
from .provider import serving

RECORDED = (200, {}, b'{"status": "recorded"}')


@pytest.fixture
def simulate():
    def simulate(*args, **options):
        stdout = io.StringIO()
        try:
            call_command("plugchat_simulate", *args, stdout=stdout, **options)
        finally:
            assert SECRET not in stdout.getvalue()
        return [line.split() for line in stdout.getvalue().splitlines()]

    return simulate


@pytest.fixture
def server():
    with serving() as serve:
        yield serve(RECORDED)


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
def closed_port():
    """Nothing listens there, and nothing else gets it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.django_db(transaction=True)
def test_a_running_server_stores_what_is_posted(live_server, simulate):
    lines = simulate(live_server.url, "--count=30", "--failures=50", "--duplicates=20", "--concurrency=3")
    assert lines[0][-2:] == ["30.", "Answers:"]
    assert dict(lines[1:]) == {"recorded": "24", "duplicate": "6"}
    events = DeliveryEvent.objects.all()
    assert (len(events), len(events.failed())) == (24, 12)
    assert sum(event.times_received for event in events) == 30
    assert all(event.occurred_at for event in events)
    assert {event.failure for event in events.failed()} <= set(Failure.values)


@pytest.mark.django_db(transaction=True)
def test_statuses_are_stored_with_the_messages_they_are_about(live_server, simulate):
    lines = simulate(live_server.url, "--count=120", "--failures=0", "--duplicates=10", "--statuses=60")
    tally = dict(lines[1:])
    # What was read by me is ignored, however often it is repeated.
    assert int(tally["duplicate"]) + int(tally.get("ignored", 0)) >= 12
    events = DeliveryEvent.objects.all()
    sent = set(events.deliveries().values_list("message_id", flat=True))
    assert sent >= set(events.statuses().values_list("message_id", flat=True))
    changes_of_the_connection = 2
    assert 0 <= int(tally["recorded"]) - events.count() <= changes_of_the_connection


@pytest.mark.django_db(transaction=True)
def test_another_account(live_server, simulate):
    assert simulate(live_server.url, "--count=1", "--account=norte")[1:] == [["recorded", "1"]]
    assert DeliveryEvent.objects.get().account == "norte"


@pytest.mark.parametrize(
    ("count", "failures", "duplicates", "different", "failed"),
    [
        (1, 0, 0, 1, 0),
        (100, 0, 0, 100, 0),
        (100, 100, 0, 100, 100),
        (100, 10, 10, 90, 9),
        (100, 12.5, 0.5, 100, 12),
        (3, 0, 100, 1, 0),
    ],
)
def test_the_percentages_are_kept(count, failures, duplicates, different, failed):
    posted = list(simulation.callbacks(count, failures=failures, duplicates=duplicates))
    assert len(posted) == count
    by_message = {callback["zaapId"]: callback for callback in posted}
    assert len(by_message) == different
    assert sum("error" in callback for callback in by_message.values()) == failed


def test_failures_of_every_kind_come_up_in_the_providers_words():
    posted = list(simulation.callbacks(300, failures=100))
    assert {kind_of(callback["error"], callback.get("errorCode", "")) for callback in posted} == set(Failure.values)
    assert "SHADOW_BAN" in {failure.get("errorCode") for failure in simulation.FAILURES["restricted"]}


@pytest.mark.parametrize("kind", Failure.values)
def test_each_failure_is_read_as_its_kind(kind):
    for failure in simulation.FAILURES[kind]:
        assert kind_of(failure["error"], failure.get("errorCode", "")) == kind


def test_statuses_follow_the_messages_that_were_sent():
    sent, said = {}, set()
    for callback in simulation.callbacks(2000, failures=10, statuses=60):
        if callback.get("status") == "READ_BY_ME" or callback["type"] in CONNECTION_CALLBACKS:
            continue
        if callback["type"] == "MessageStatusCallback":
            [message_id] = callback["ids"]
            assert sent[message_id] == callback["phone"]
            assert (message_id, callback["status"]) not in said
            said.add((message_id, callback["status"]))
        elif "error" not in callback:
            sent[callback["messageId"]] = callback["phone"]
    assert {status for _message_id, status in said} == {"SENT", "RECEIVED", "READ"}


def test_without_a_message_left_to_speak_of_another_is_sent():
    types = Counter(callback["type"] for callback in simulation.callbacks(200, statuses=100))
    assert types["MessageStatusCallback"] > types["DeliveryCallback"] > 1


def test_the_connection_is_lost_and_found_once():
    types = Counter(callback["type"] for callback in simulation.callbacks(200, statuses=100))
    assert [types[type_] for type_ in CONNECTION_CALLBACKS] == [1, 1]
    assert not CONNECTION_CALLBACKS.keys() & {callback["type"] for callback in simulation.callbacks(200)}


def test_workers_keep_their_connections(server, url, simulate):
    def keep(request):
        connections.append(request.client_address)
        request.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{"status": "recorded"}')
        request.close_connection = False

    connections = []
    server.answers = [keep]
    simulate(url, "--count=40", "--concurrency=2")
    assert len(connections) == 40
    assert len(set(connections)) <= 2


def test_a_url_without_a_path_gets_the_callback_path(server, url, simulate):
    simulate(url, "--count=1")
    [(_method, path, headers, body)] = server.requests
    assert (path, headers["Content-Type"]) == (f"/plugchat/callback/{SECRET}/", "application/json")
    assert json.loads(body)["type"] == "DeliveryCallback"


def test_a_url_with_a_path_is_used_as_it_is(server, url, simulate):
    simulate(f"{url}/elsewhere?a=b", "--count=1")
    assert server.requests[0][1] == "/elsewhere?a=b"


def test_by_default_it_posts_to_the_development_server():
    options = Command().create_parser("manage.py", "plugchat_simulate").parse_args([])
    target = simulation.target(options.url, options.account)
    assert target == f"http://127.0.0.1:8000/plugchat/callback/{SECRET}/"


def test_a_password_in_the_url_is_not_printed(server, url, simulate):
    lines = simulate(url.replace("http://", "http://user:pass@"), "--count=1")
    assert lines[0] == ["Callbacks", "posted", "to", f"127.0.0.1:{server.port}:", "1.", "Answers:"]


def test_a_proxy_is_not_asked_for_this_machine(url, simulate, monkeypatch, closed_port):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert simulate(url, "--count=1")[1:] == [["recorded", "1"]]


@pytest.mark.parametrize(
    ("status", "headers", "body", "message"),
    [
        (404, {}, b'{"detail": ""}', "HTTP 404: .*does not know the secret"),
        (404, {}, b"", "HTTP 404: .*another application"),
        (301, {"Location": "https://example.com/"}, b"", "HTTP 301: .*redirects to https://example.com/"),
        (503, {}, b"", "HTTP 503: .*The application fails"),
        (200, {}, b"[]", "HTTP 200: .*another application"),
        (200, {}, b'{"status": "fine"}', "HTTP 200: .*another application"),
        (200, {}, b'{"status": ["recorded"]}', "HTTP 200: .*another application"),
    ],
)
def test_an_unexpected_answer_fails_with_what_to_do(server, url, simulate, status, headers, body, message):
    server.answers = [(status, headers, body)]
    with pytest.raises(CommandError, match=message) as raised:
        simulate(url, "--count=3", "--concurrency=1")
    assert SECRET not in str(raised.value)
    assert len(server.requests) == 3 + 1


def test_an_unexpected_answer_that_passed(server, url):
    server.answers = [(200, {}, b'{"status": "ignored"}')]
    assert simulation.advice("HTTP 503", url) == "HTTP 503: The server failed: its log says why."


@pytest.mark.parametrize("answer", ["duplicate", "ignored"])
def test_other_answers_of_the_view_are_expected(server, url, simulate, answer):
    server.answers = [(200, {}, json.dumps({"status": answer}).encode())]
    assert simulate(url, "--count=2")[1:] == [[answer, "2"]]


def test_no_server(simulate, closed_port):
    with pytest.raises(CommandError, match=r"ConnectionError: .*the web server") as raised:
        simulate(f"http://127.0.0.1:{closed_port}")
    assert SECRET not in str(raised.value)


def test_nothing_more_is_posted_when_a_server_goes_away(closed_port):
    url = f"http://127.0.0.1:{closed_port}/"
    assert list(simulation.post_all(url, simulation.callbacks(100))) == ["ConnectionError"]


def test_no_trusted_https(url, simulate):
    with pytest.raises(CommandError, match=r"SSLError: .*no secure connection"):
        simulate(url.replace("http:", "https:"), "--count=1")


def test_no_answer_in_time(simulate, monkeypatch):
    monkeypatch.setattr(simulation, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(CommandError, match=r"ReadTimeout: .*0\.05"):
        simulate(f"http://127.0.0.1:{silent.getsockname()[1]}", "--count=1")


def test_posting_stops_with_whoever_reads_the_answers(server, url):
    answers = simulation.post_all(url, simulation.callbacks(10**9), concurrency=2)
    assert next(answers) == "recorded"
    answers.close()
    posted = len(server.requests)
    with requests.Session() as session:
        assert simulation.post(session, url, {}) == "recorded"
    assert len(server.requests) == posted + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count=0"], "--count and --concurrency must be at least 1"),
        (["--concurrency=0"], "--count and --concurrency must be at least 1"),
        (["--failures=-1"], "are percentages"),
        (["--failures=nan"], "are percentages"),
        (["--duplicates=101"], "are percentages"),
        (["--statuses=101"], "are percentages"),
        (["--account=sul"], "no account 'sul'"),
        (["example.com"], "must begin with http"),
        (["ftp://example.com"], "must begin with http"),
        (["http:///plugchat/"], "InvalidURL"),
        (["http://[::1"], "Invalid IPv6 URL"),
        (["http://127.0.0.1:port"], "InvalidURL"),
        (["http://127.0.0.1:0"], "no connection"),
    ],
)
def test_unusable_arguments_are_refused(simulate, arguments, message):
    with pytest.raises(CommandError, match=message):
        simulate(*arguments)
