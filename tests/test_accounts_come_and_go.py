"""An account that comes while a site with two workers runs: added, registered, called, rotated, retired."""

import io
import json
import re
import time

import pytest
import requests
from django.contrib.auth.models import User
from django.core.management import call_command

from django_plugchat import accounts
from django_plugchat.conf import secret_id
from django_plugchat.models import Account, DeliveryEvent

from .payloads import EXAMPLE, url_of
from .provider import forget_environment, serving
from .servers import gunicorn

pytestmark = [pytest.mark.nightly, pytest.mark.django_db(transaction=True)]

TOKEN = "token-that-somebody-typed"
CALLS = 30


class Site:
    """What somebody does in its admin, and what the provider calls."""

    def __init__(self, base: str) -> None:
        self.base, self.browser = base, requests.Session()
        self.post("/admin/login/", username="ana", password="a password", next="/admin/")

    def post(self, path: str, **data: str) -> requests.Response:
        self.browser.get(self.base + path)
        data["csrfmiddlewaretoken"] = self.browser.cookies["csrftoken"]
        answer = self.browser.post(self.base + path, data)
        assert answer.status_code == 200
        return answer

    def answers(self, secret: str) -> set[int]:
        """To as many calls as reach both workers, each over a connection of its own."""
        return {requests.post(self.base + url_of(secret), json=EXAMPLE, timeout=10).status_code for _n in range(CALLS)}


@pytest.fixture
def provider(monkeypatch):
    forget_environment(monkeypatch)
    with serving() as serve:
        yield serve()


@pytest.fixture
def site(provider, tmp_path):
    User.objects.create_superuser("ana", password="a password")
    environ = {"DJANGO_SETTINGS_MODULE": "tests.settings_accounts", "API_URL": provider.base_url}
    log = tmp_path / "log"
    with gunicorn(log, "--workers", "2", "--config", "tests/gunicorn_conf.py", **environ) as (base, _process):
        yield Site(base), log


def test_an_account_comes_and_goes(site, provider):
    site, log = site
    site.post("/admin/django_plugchat/account/add/", alias="filial", label="Filial Sul", provider="plugchat")
    page = f"/admin/django_plugchat/account/{Account.objects.get().pk}"

    def register() -> str:
        provider.requests.clear()
        site.post(f"{page}/register/", token=TOKEN, with_status="on")
        assert [request[2]["Authorization"] for request in provider.requests] == 2 * [TOKEN]
        return re.findall("callback/([^/]+)/", json.loads(provider.requests[0][3])["value"])[0]

    first = register()
    assert site.answers(first) == {200}
    second = register()
    assert site.answers(second) == site.answers(first) == {200}
    pasted = re.findall("callback/([^/]+)/</code>", site.post(f"{page}/address/").text)[0]
    assert site.answers(pasted) == {200}
    assert DeliveryEvent.objects.get().times_received == 4 * CALLS

    # Every process remembers the secrets for half a minute.
    site.post(f"{page}/retire/?secret_id={secret_id(first)}")
    time.sleep(accounts.BELIEVED_FOR)
    assert site.answers(first) == {404}
    assert site.answers(second) == {200}
    site.post(f"{page}/change/", label="Filial Sul", provider="plugchat")
    time.sleep(accounts.BELIEVED_FOR)
    assert site.answers(second) == {404}

    kept = io.StringIO()
    call_command("dumpdata", stdout=kept)
    assert "Filial Sul" in kept.getvalue()
    assert "sessions.session" in kept.getvalue()
    said = log.read_text()
    assert len(set(re.findall(r"\[(\d+)\] \[INFO\] .*POST /plugchat/callback/", said))) == 2
    for confidential in (TOKEN, first, second, pasted):
        assert confidential not in kept.getvalue()
        assert confidential not in said
