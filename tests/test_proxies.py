"""Through nginx and Caddy as docs/howto/proxy.md configures them: what gets through, and what their logs show."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from django_plugchat.models import DeliveryEvent, RejectedCallback

from .payloads import EXAMPLE, SECRET, URL
from .proxies import caddy, nginx, shown_in
from .servers import SERVERS, serving

pytestmark = pytest.mark.services

BODY = json.dumps(EXAMPLE).encode()
TOKEN = "token-of-the-default-account"
HEADERS = {"Content-Type": "application/json", "z-api-token": TOKEN}
SEARCH = "/admin/django_plugchat/deliveryevent/?q=554499999999"
PAGE = "howto/proxy.md"


def in_pieces(size: int) -> Iterator[bytes]:
    yield from [b"[" * 1000] * (size // 1000)


def logs(directory: Path) -> str:
    return "".join(path.read_text() for path in directory.rglob("*") if path.suffix == ".log")


def post_all_kinds(base: str) -> list[int]:
    """The answers to a good callback, one in chunks, one too large, and one too large in chunks."""
    bodies = [BODY, iter([BODY]), b"[" * 300_000, in_pieces(300_000)]
    return [requests.post(base + URL, body, headers=HEADERS, timeout=60).status_code for body in bodies]


def test_the_portuguese_page_has_the_same_lines():
    assert shown_in(f"pt-br/{PAGE}", "text") == shown_in(PAGE, "text")


@pytest.mark.django_db(transaction=True)
def test_nginx(tmp_path):
    # A server that by itself refuses chunks.
    with serving(SERVERS["uwsgi"], tmp_path / "server") as upstream, nginx(PAGE, tmp_path, upstream) as base:
        assert post_all_kinds(base) == [200, 200, 413, 413]
        requests.get(base + SEARCH)
    with nginx(PAGE, tmp_path, upstream) as base:
        assert requests.post(base + URL, BODY, headers=HEADERS).status_code == 502
    assert DeliveryEvent.objects.get().times_received == 2
    assert not RejectedCallback.objects.exists()
    shown = logs(tmp_path)
    assert shown.count("POST /plugchat/callback/[redacted]") == 5
    assert "/django_plugchat/deliveryevent/?[redacted]" in shown
    for confidential in (SECRET, TOKEN, EXAMPLE["phone"]):
        assert confidential not in shown


@pytest.mark.django_db(transaction=True)
def test_caddy(tmp_path):
    with serving(SERVERS["uvicorn"], tmp_path / "server") as upstream, caddy(PAGE, tmp_path, upstream) as base:
        good, chunked, *too_large = post_all_kinds(base)
        assert (good, chunked) == (200, 200)
        assert set(too_large) <= {413, 502}
        requests.get(base + SEARCH, headers={"Referer": base + SEARCH})
    with caddy(PAGE, tmp_path, upstream) as base:
        assert requests.post(base + URL, BODY, headers=HEADERS).status_code == 502
    assert DeliveryEvent.objects.get().times_received == 2
    assert not RejectedCallback.objects.exists()
    shown = logs(tmp_path)
    assert "/plugchat/callback/[redacted]" in shown
    assert "/admin/django_plugchat/[redacted]" in shown
    for confidential in (SECRET, TOKEN, EXAMPLE["phone"]):
        assert confidential not in shown
