"""What the documentation says is what the code does: its blocks run, its names exist, its two languages agree."""

import ast
import base64
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple
from unittest import mock

import pytest
from django.apps import apps
from django.core.management import BaseCommand, CommandError, call_command, get_commands, load_command_class
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from django_plugchat import conf
from django_plugchat.models import Connection, DeliveryEvent, Registration, RejectedCallback
from django_plugchat.provider.errors import Failure
from django_plugchat.signals import connection_changed, delivery_recorded
from django_plugchat.testing import post_callback
from django_plugchat.upkeep import findings
from django_plugchat.upkeep.prometheus import METRICS

from .answers import ANSWERS
from .payloads import EXAMPLE, SECRET
from .projects import WORKERS
from .provider import forget_environment, serving

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
#: Pages by their path below docs/; those in Portuguese begin with pt-br/.
PAGES = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
OTHERS = {
    name: (ROOT / name).read_text() for name in ("README.md", "README.pt-BR.md", "CONTRIBUTING.md", "SECURITY.md")
}
PORTUGUESE = {name: text for name, text in PAGES.items() if name.startswith("pt-br/")}
TRANSLATED = {f"pt-br/{name}" for name in PAGES if re.match(r"(index|quickstart|howto/[\w-]+)\.md", name)}
#: What ``plugchat_status`` may find.
RULES = [*findings.TEXTS, "spooled"]
COMMANDS = [name for name in get_commands() if name.startswith("plugchat_")]
ENVIRON = {
    "PLUGCHAT_TOKEN": "token-of-the-default-account",
    "PLUGCHAT_WEBHOOK_SECRET": SECRET,
    "PLUGCHAT_RETIRING_SECRET": "retiring-secret-of-the-default-account",
    "PLUGCHAT_TOKEN_CENTRO": "token-of-centro",
    "PLUGCHAT_SECRET_CENTRO": "secret-of-the-account-centro",
    "PLUGCHAT_TOKEN_NORTE": "token-of-norte",
    "PLUGCHAT_SECRET_NORTE": "secret-of-the-account-norte",
    "ZAPI_INSTANCE": "3B8D1E0F5A724C96A1D0E7F2B4C6985A",
    "ZAPI_TOKEN": "token-of-the-instance",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:5672//",
}


class Block(NamedTuple):
    page: str
    language: str
    code: str

    @property
    def title(self) -> str:
        """The file that it belongs to, where its first line says so."""
        first = self.code.partition("\n")[0]
        return first.removeprefix("# ").partition(",")[0] if re.match(r"# [\w/]+\.py\b", first) else ""


BLOCKS = [
    Block(name, match[1], dedent(match[2]))
    for name, text in (PAGES | OTHERS).items()
    for match in re.finditer(r"^ *```([\w{}]+)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
]
PYTHON = [block for block in BLOCKS if block.language == "python" and block.page in PAGES]
#: What the README shows, by what each begins with.
README = {
    block.title or block.code.partition(" ")[0]: block.code
    for block in BLOCKS
    if block.language == "python" and block.page == "README.md"
}


def ids(block: Block) -> str:
    return f"{block.page}:{block.title}"


def python_block(page: str, title: str, index: int = 0) -> str:
    return [block.code for block in PYTHON if (block.page, block.title) == (page, title)][index]


def rows(page: str, pattern: str) -> list[tuple[str, ...]]:
    """What the pattern finds in each line of the page's tables."""
    return [match.groups() for match in re.finditer(rf"^\| {pattern}", PAGES[page], re.MULTILINE)]


def run(*arguments: str, modules: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """Python with the modules of a folder and the environment that the pages tell of."""
    common = {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": "sqlite://",  # Django's own checks may connect
        "PYTHONPATH": os.pathsep.join([str(modules), str(ROOT)]),
    }
    process = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | ENVIRON | common | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    return process


# Code


@pytest.mark.parametrize("block", PYTHON, ids=ids)
def test_python_compiles(block):
    ast.parse(block.code)


#: Those in English: the other language has the same code.
SETTINGS = [
    block
    for block in PYTHON
    if block.title == "settings.py" and "TASKS" not in block.code and block.page not in PORTUGUESE
]
SETTINGS.append(Block("README.md", "python", README["import"].replace("APPS = [", "APPS += [")))


@pytest.mark.parametrize("block", SETTINGS, ids=ids)
def test_settings_pass_the_checks(tmp_path, block):
    # What a module sets at its top, it needs there too: DATABASES differ, and mysite is nobody's.
    code = block.code.replace("mysite.celery.dispatch", "tests.dispatchers.into_queue")
    # As readers are told to: with a host of their own.
    code = re.sub(r"your-site\.example|example\.com", "hooks.loja.com.br", code)
    options = re.search(r'^DATABASES\["default"\]\["OPTIONS"\] = (\{.*?^\})', code, re.DOTALL | re.MULTILINE)
    if options:
        documented = ast.literal_eval(options[1])
        example = runpy.run_path(str(ROOT / "example_project" / "settings.py"))["DATABASE_OPTIONS"]
        assert documented in example.values()
        code = code.replace(options[0], 'DATABASES["default"]["OPTIONS"] = {}')
    if "django.db.backends.postgresql" in code:
        pytest.importorskip("psycopg")
    # The README adds the app.
    if '"django_plugchat",' in code:
        code = f"INSTALLED_APPS.remove('django_plugchat')\n{code}"
    (tmp_path / "documented.py").write_text(f"import os\nfrom tests.settings import *\n{code}")
    check = ("-m", "django", "check", "--fail-level", "WARNING")
    assert run(*check, modules=tmp_path, DJANGO_SETTINGS_MODULE="documented").stderr == ""


def test_the_readmes_receiver_is_the_shops():
    source = (ROOT / "example_project" / "shop" / "receivers.py").read_text()
    assert README["shop/receivers.py"] == f"# shop/receivers.py\n{source}".replace("example_project.shop", "shop")


def test_the_readmes_model_is_the_shops():
    source = (ROOT / "example_project" / "shop" / "models.py").read_text()
    shown, shops = (
        set(re.findall(r"^    (\w+) = models\.(\w+)\(", code, re.MULTILINE))
        for code in (README["shop/models.py"], source)
    )
    assert shown < shops


def test_what_the_readme_sends(monkeypatch):
    monkeypatch.setenv("PLUGCHAT_TOKEN", "token-of-the-default-account")
    sent = []

    def post(url, **request):
        assert order.sending_since is not None
        order.save.assert_called_once_with()
        sent.append((url, request["headers"], request["json"]))
        return mock.Mock(json=lambda: {"zaapId": "Z1", "messageId": "M1"})

    monkeypatch.setattr("requests.post", post)
    order = mock.Mock(phone="5544999999999", zaap_id="Z0", whatsapp="failed", problem="number", sending_since=None)
    names: dict[str, Any] = {}
    exec(README["shop/sending.py"], names)
    names["tell_customer"](order, "Seu pedido saiu.")
    url = "https://www.plugchat.com.br/api/whatsapp/send-text"
    headers = {"Authorization": "token-of-the-default-account"}
    assert sent == [(url, headers, {"phone": "5544999999999", "message": "Seu pedido saiu."})]
    assert (order.zaap_id, order.message_id, order.whatsapp, order.problem) == ("Z1", "M1", "", "")
    order.save.assert_called_with(update_fields=["zaap_id", "message_id"])


EXCERPTS = [block for block in PYTHON if block.title.startswith("shop/")]


@pytest.mark.parametrize("block", EXCERPTS, ids=ids)
def test_the_shop_is_the_example_projects(block):
    source = (ROOT / "example_project" / block.title).read_text().replace("example_project.shop", "shop")
    _title, *pieces = re.split(r"^ *# (?:shop/.*|…)\n", block.code, flags=re.MULTILINE)
    assert pieces
    for piece in pieces:
        assert piece.strip() in source


def test_the_tests_shown_run(tmp_path):
    (tmp_path / "test_shown.py").write_text(python_block("reference/testing.md", ""))
    run("-m", "django", "test", "test_shown", "-v0", modules=tmp_path)


def queue_settings(queue: str) -> dict[str, Any]:
    program = (
        "import json; from tests import settings_queue as s;"
        "print(json.dumps([s.INSTALLED_APPS[-2:], getattr(s, 'TASKS', 0), getattr(s, 'RQ_QUEUES', 0), s.PLUGCHAT]))"
    )
    values = json.loads(run("-c", program, QUEUE=queue).stdout)
    return dict(zip(("apps", "TASKS", "RQ_QUEUES", "PLUGCHAT"), values, strict=True))


@pytest.mark.parametrize(("queue", "index"), [("db", 0), ("rq", 1)])
def test_queue_settings_are_those_of_the_tests(monkeypatch, queue, index):
    tested = queue_settings(queue)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    shown: dict[str, Any] = {"INSTALLED_APPS": [], "os": os}
    exec(python_block("howto/queues.md", "settings.py", index), shown)
    assert set(shown["INSTALLED_APPS"]) <= set(tested["apps"])
    assert (shown["TASKS"], shown.get("RQ_QUEUES", 0)) == (tested["TASKS"], tested["RQ_QUEUES"])


def test_celery_is_that_of_the_tests():
    def parts(source: str) -> dict[str, str]:
        return {ast.unparse(node).partition("\n")[0]: ast.unparse(node) for node in ast.parse(source).body}

    shown = python_block("howto/queues.md", "mysite/celery.py")
    shown = shown.replace('"mysite.settings"', '"tests.settings_queue"').replace('"mysite"', '"tests"')
    tested = (ROOT / "tests" / "celery_app.py").read_text()
    assert parts(shown).items() <= parts(tested).items()
    assert python_block("howto/queues.md", "mysite/celery.py", 1).partition("\n")[2].strip() in tested
    assert queue_settings("celery")["PLUGCHAT"]["DISPATCHER"] == "tests.celery_app.dispatch"


def test_the_stores_are_those_of_the_tests():
    assert (
        python_block("howto/staff.md", "stores/models.py").partition("\n")[2]
        == (ROOT / "tests" / "stores" / "models.py").read_text()
    )


@pytest.mark.django_db
def test_events_are_passed_on_to_another_consumer(monkeypatch):
    """Signed, and told again while it does not take them."""
    secret = "whsec_" + base64.b64encode(b"s" * 24).decode()
    names: dict[str, Any] = {"__name__": "mysite.receivers"}
    forget_environment(monkeypatch)
    monkeypatch.setenv("CONSUMER_SECRET", secret)
    with serving() as serve:
        consumer = serve((503, {}, b""), (204, {}, b""))
        monkeypatch.setenv("CONSUMER_URL", consumer.base_url)
        exec(python_block("howto/another-consumer.md", "mysite/receivers.py"), names)
        try:
            post_callback()
            event = DeliveryEvent.objects.get()
            assert (event.dispatch_status, event.dispatch_error) == ("retrying", "mysite.receivers.pass_on: HTTPError")
            DeliveryEvent.objects.update(dispatch_due_at=event.received_at)
            call_command("plugchat_redispatch", "--inline", stdout=io.StringIO())
        finally:
            delivery_recorded.disconnect(names["pass_on"], sender=DeliveryEvent)
    assert DeliveryEvent.objects.get().dispatch_status == "done"
    said = [Webhook(secret).verify(request[3], dict(request[2])) for request in consumer.requests]
    assert said == 2 * [event.payload]
    assert {request[2]["webhook-id"] for request in consumer.requests} == {str(event.fingerprint)}


def test_workers_are_those_of_the_tests():
    shell = "".join(block.code for block in BLOCKS if block.page == "howto/queues.md" and block.language == "console")
    assert f"python manage.py {shlex.join(WORKERS['rq'][1:])}\n" in shell
    # The tests' worker does not watch its files.
    assert f"python manage.py {WORKERS['db'][1]}\n" in shell
    assert f"{shlex.join(WORKERS['celery'][:4])}\n".replace("tests.celery_app", "mysite.celery") in shell


def test_gunicorn_is_configured_as_in_the_tests():
    shown = python_block("reference/logging.md", "gunicorn_conf.py").partition("\n")[2]
    assert shown == (ROOT / "tests" / "gunicorn_conf.py").read_text()


@pytest.mark.parametrize("page", ["howto/servers.md", "pt-br/howto/servers.md"])
def test_servers_are_those_of_the_tests(page):
    stacks = ROOT / "tests" / "stacks"
    patching = python_block(page, "gunicorn_conf.py").partition("\n")[2]
    assert patching in (stacks / "gunicorn_gevent.py").read_text()
    handler = python_block(page, "mysite/lambda_function.py").rpartition("handler = ")[2].strip()
    assert handler.replace("get_asgi_application()", "asgi.application") in (stacks / "lambda_events.py").read_text()


@pytest.mark.django_db
def test_a_tests_dispatcher_runs_receivers_at_once(plugchat):
    plugchat(DISPATCHER=re.search(r'"DISPATCHER": "([\w.]+)"', python_block("howto/receive.md", "settings.py"))[1])
    post_callback()
    # No receiver is connected here: the attempt was made and logged.
    assert DeliveryEvent.objects.get().dispatch_status == "pending"


#: Those that others' tests run, and those that would change this process.
ELSEWHERE = (
    "settings",
    "shop/",
    "stores/",
    "mysite/celery",
    "mysite/lambda_function",
    "mysite/receivers",
    "gunicorn_conf",
    "urls",
)
ALONE = [
    block
    for block in PYTHON
    if not block.title.startswith(ELSEWHERE) and not re.search("forged|sentry_sdk", block.code)
]


@pytest.mark.django_db
def test_a_shop_hears_that_its_number_is_offline(mailoutbox):
    names: dict[str, Any] = {}
    exec(python_block("reference/signal.md", "mysite/receivers.py"), names)
    try:
        for type_, momment in (("DisconnectedCallback", 1), ("DisconnectedCallback", 2), ("ConnectedCallback", 3)):
            post_callback({"type": type_, "momment": 1_700_000_000 + momment, "instanceId": "I"})
    finally:
        connection_changed.disconnect(names["tell_the_shop"], sender=Connection)
    assert [mail.subject for mail in mailoutbox] == ["Your number is offline", "Your number is online again"]


@pytest.mark.django_db
@pytest.mark.parametrize("block", ALONE, ids=ids)
def test_it_runs_on_its_own(block):
    post_callback()
    # What some of them are about.
    names: dict[str, Any] = {"event": DeliveryEvent.objects.get()}
    try:
        exec(block.code, names)
    finally:
        delivery_recorded.disconnect(names.get("hear"), sender=DeliveryEvent)


@pytest.mark.django_db
def test_what_came_by_a_leaked_secret_is_found():
    post_callback(zaapId="forged")
    post_callback(zaapId="real")
    post_callback(phone=None)
    blocks = [block.code for block in PYTHON if block.page == "howto/monitoring.md"]
    names: dict[str, Any] = {}
    code = "\n".join(blocks).replace("1a2b3c4d", conf.secret_id(SECRET))
    exec(code.replace(EXAMPLE["zaapId"], "real"), names)
    assert DeliveryEvent.objects.get().zaap_id == "real"
    assert not RejectedCallback.objects.exists()


SENTRY = [block for block in PYTHON if "sentry_sdk" in block.code]


def test_sentry_is_shown():
    assert SENTRY


@pytest.mark.parametrize("block", SENTRY, ids=ids)
def test_what_sentry_gets_as_documented(tmp_path, block):
    (tmp_path / "shown.py").write_text(block.code)
    sent = run("-m", "tests.sentry_recipe", str(tmp_path / "shown.py"), SENTRY_DSN="http://key@localhost/1").stdout

    assert {envelope.get("type", "error") for envelope in json.loads(sent)} == {"error", "transaction"}
    assert SECRET not in sent
    assert EXAMPLE["phone"] not in sent


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=ids)
@pytest.mark.django_db
def test_the_status_shown_has_todays_keys(block):
    registered = timezone.now() - timedelta(hours=2)
    Registration.objects.create(account="default", webhook="update-webhook-delivery", registered_at=registered)
    output = io.StringIO()
    # The account was never called.
    with pytest.raises(CommandError):
        call_command("plugchat_status", "--json", stdout=output)
    real, shown = json.loads(output.getvalue()), json.loads(block.code)

    def keys(report: Any) -> Any:
        return {name: keys(value) for name, value in report.items()} if isinstance(report, dict) else None

    shown_account, real_account = shown["accounts"][0], real["accounts"][0]
    # Those that occurred.
    assert set(shown_account["last_24_hours"]["failures"]) <= set(Failure.values)
    shown_account["last_24_hours"]["failures"] = real_account["last_24_hours"]["failures"] = {}
    assert keys(shown) == keys(real)
    assert keys(shown_account) == keys(real_account)
    for name in ("registrations", "findings"):
        assert shown_account[name][0].keys() == real_account[name][0].keys()
    assert set(shown_account["problems"]) == {finding["name"] for finding in shown_account["findings"]} <= set(RULES)


# Commands


def command_lines() -> set[str]:
    """What follows ``manage.py`` wherever it is shown, and this app's commands where they are named."""
    lines = [line for block in BLOCKS if block.language in {"console", "python"} for line in block.code.splitlines()]
    shown = [match[1] for line in lines if (match := re.search(r"manage\.py (.*)", line))]
    spans = [span for text in (PAGES | OTHERS).values() for span in re.findall(r"`([^`\n]+)`", text)]
    named = [match[1] for span in spans if (match := re.fullmatch(r"(?:python )?(?:manage\.py )?(plugchat_.*)", span))]
    return {line.partition(" >")[0] for line in [*shown, *named] if re.match(r"\w+", line)[0] not in METRICS}


COMMAND_LINES = sorted(command_lines())
OTHER_WORKERS = {WORKERS["rq"][1], WORKERS["db"][1]}
NOT_OF_THE_TESTS = {*OTHER_WORKERS, "demo"}


@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.split()[0] not in NOT_OF_THE_TESTS])
def test_commands_and_options_exist(line):
    name, *arguments = shlex.split(line.replace("DATE", "2026-01-31"))
    if name == "plugchat_forget":
        # Where it is only named, what it asks for is missing.
        arguments = arguments or ["-"]
    load_command_class(get_commands()[name], name).create_parser("manage.py", name).parse_args(arguments)


def test_every_command_is_shown():
    assert {line.split()[0] for line in COMMAND_LINES} >= {*COMMANDS, *OTHER_WORKERS}


def arguments(name: str) -> set[str]:
    """A command's own arguments as the reference shows them."""
    parser = load_command_class("django_plugchat", name).create_parser("manage.py", name)
    common = {action.dest for action in BaseCommand().create_parser("manage.py", name)._actions}
    shown = set()
    for action in parser._actions:
        if action.dest not in common:
            value = (
                "" if action.nargs == 0 else "|".join(action.choices or [str(action.metavar or action.dest.upper())])
            )
            shown.add(" ".join(filter(None, [*action.option_strings[:1], value])))
    return shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_the_commands_arguments(name):
    section = PAGES["reference/commands.md"].partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) == arguments(name)


def test_no_other_command_is_in_the_reference():
    assert sorted(re.findall(r"^## (\w+)$", PAGES["reference/commands.md"], re.MULTILINE)) == sorted(COMMANDS)


# Names


def test_the_settings_page_has_every_key_and_its_default():
    documented = {key: ast.literal_eval(value) for key, value in rows("reference/settings.md", r"`(\w+)` \| `([^`]+)`")}
    account = {key: documented.pop(key) for key in ("TOKEN", "WEBHOOK_SECRETS", "PROVIDER", "INSTANCE", "CLIENT_TOKEN")}
    assert account == {"TOKEN": "", "WEBHOOK_SECRETS": [], "PROVIDER": "plugchat", "INSTANCE": "", "CLIENT_TOKEN": ""}
    assert documented == conf.DEFAULTS
    assert list(documented) == list(conf.DEFAULTS)


def test_the_checks_page_has_every_id():
    source = (ROOT / "django_plugchat" / "checks.py").read_text()
    documented = [name for (name,) in rows("reference/checks.md", r"`(django_plugchat\.[EW]\d{3})`")]
    found = re.findall(r'^    "([EW]\d{3})": ', source, re.MULTILINE)
    assert documented == sorted({f"django_plugchat.{number}" for number in found})


@pytest.mark.parametrize("model", [*apps.get_app_config("django_plugchat").get_models()])
def test_the_models_page_has_every_field_and_permission(model):
    page = PAGES["reference/models.md"]
    section = page.partition(f"## {model.__name__}\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    assert {field.name for field in model._meta.fields} - {"id"} <= named
    for codename, _name in model._meta.permissions:
        assert f"`django_plugchat.{codename}`" in page
    for field in model._meta.fields:
        for value, _label in field.choices or ():
            assert f'`"{value}"`' in page + PAGES["reference/signal.md"]


@pytest.mark.parametrize("page", ["howto/monitoring.md", "pt-br/howto/monitoring.md"])
def test_the_runbook_has_every_rule(page):
    headings = re.findall(r"^### (\w+)$", PAGES[page], re.MULTILINE)
    assert headings == RULES


def test_the_answers_are_those_of_the_view():
    row = r'^\| [^|\n]+ \| (\d{3})\b[^|\n]*\| (?:`\{"status": "(\w+)"\}`)?[^|\n]*\|'
    documented = [
        (int(match[1]), match[2] or "") for match in re.finditer(row, PAGES["reference/answers.md"], re.MULTILINE)
    ]
    assert documented == [(answer.status, answer.body) for answer in ANSWERS]


def exists(dotted: str) -> bool:
    """Whether it can be imported, as a module or from one."""
    module, _, rest = dotted.rpartition(".")
    try:
        import_module(dotted)
    except ImportError:
        return bool(module) and exists(module) and hasattr(import_module(module), rest)
    return True


@pytest.mark.parametrize("name", [*PAGES, *OTHERS])
def test_names_of_the_app_exist(name):
    known = set()
    for model in apps.get_app_config("django_plugchat").get_models():
        options = model._meta
        standard = (f"{action}_{options.model_name}" for action in options.default_permissions)
        own = (codename for codename, _name in options.permissions)
        known |= {options.label_lower, *(f"django_plugchat.{codename}" for codename in (*standard, *own))}
    for dotted in set(re.findall(r"\bdjango_plugchat(?:\.\w+)+", PAGES.get(name) or OTHERS[name])):
        assert exists(dotted) or dotted in known or re.search(r"\.[EW]\d{3}$", dotted), dotted


# Pages


def anchors(page: Path) -> set[str]:
    """The names that GitHub and the generator give to headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*PAGES, "../CONTRIBUTING.md", "../SECURITY.md"])
def test_internal_links_resolve(name):
    page = DOCS / name
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("index", ["index.md", "pt-br/index.md"])
def test_every_page_is_in_the_contents(index):
    folder = index.removesuffix("index.md")
    toctrees = re.findall(r"^```\{toctree\}\n(?:^:[^\n]*\n)*\n(.*?)^```", PAGES[index], re.DOTALL | re.MULTILINE)
    listed = [f"{folder}{line}.md" for line in "".join(toctrees).split()]
    of_language = {name for name in PAGES if name.startswith("pt-br/") == index.startswith("pt-br/")}
    assert sorted(listed) == sorted(of_language - {index})


def test_portuguese_has_the_same_pages():
    assert set(PORTUGUESE) == TRANSLATED


@pytest.mark.parametrize("name", sorted(TRANSLATED))
def test_both_languages_say_the_same_names(name):
    english, portuguese = PAGES[name.removeprefix("pt-br/")], PAGES[name]
    known = [*conf.DEFAULTS, "TOKEN", "WEBHOOK_SECRETS", "LABEL", *COMMANDS]

    def names(text: str) -> set[str]:
        return {word for word in known if re.search(rf"\b{word}\b", text)} | set(re.findall(r"--[a-z-]+\b", text))

    assert names(portuguese) == names(english)
    assert code_of(name) == code_of(name.removeprefix("pt-br/"))
    assert linked_pages(portuguese) == linked_pages(english)


def code_of(page: str) -> list[str]:
    """Blocks without what may be translated: comments and what programs print."""
    blocks = [block for block in BLOCKS if block.page == page and block.language not in {"text", "{toctree}"}]
    return [re.sub(r"(?m)^Description=.*|(?<!\S)# .*$", "", block.code) for block in blocks]


def linked_pages(text: str) -> list[str]:
    return sorted(re.findall(r"\]\((?!https?://)[^)#]*?([\w-]+\.md)", text))
