"""Portuguese says all that English says. Whether the catalogues are those of the source is for .ci/translations."""

import ast
import gettext
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
from django.contrib.auth.models import User
from django.core.management import BaseCommand, CommandError, call_command, get_commands, load_command_class
from django.test import Client
from django.utils import timezone, translation

from django_plugchat.models import DeliveryEvent, Registration, RejectedCallback

from .payloads import EXAMPLE
from .receivers import Receiver, connected
from .rows import Status, event, rejected, status

ROOT = Path(__file__).resolve().parent.parent
CATALOGUES = [
    ROOT / package / "locale/pt_BR/LC_MESSAGES/django.po" for package in ("django_plugchat", "example_project")
]
READMES = [(ROOT / name).read_text() for name in ("README.md", "README.pt-BR.md")]


class Message(NamedTuple):
    comments: list[str]
    context: str
    sources: list[str]  # two where it has a plural
    translations: list[str]


def messages(catalogue: Path) -> list[Message]:
    found = []
    for block in catalogue.read_text().strip().split("\n\n"):
        comments: list[str] = []
        texts: list[tuple[str, str]] = []
        for line in block.splitlines():
            keyword, quoted = re.fullmatch(r'(#.*|\w+(?:\[\d\])? )?(".*")?', line).groups()
            if quoted is None:
                comments.append(keyword)
            elif keyword:
                texts.append((keyword, ast.literal_eval(quoted)))
            else:
                texts[-1] = (texts[-1][0], texts[-1][1] + ast.literal_eval(quoted))
        sources = [text for keyword, text in texts if keyword.startswith("msgid")]
        context = dict(texts).get("msgctxt ", "")
        translations = [text for keyword, text in texts if keyword.startswith("msgstr")]
        found.append(Message(comments, context, sources, translations))
    return found


@pytest.fixture(params=CATALOGUES, ids=lambda path: path.relative_to(ROOT).parts[0])
def catalogue(request):
    return request.param


def test_every_message_is_translated(catalogue):
    for message in messages(catalogue):
        assert all(message.translations), message
        assert len(message.translations) == len(message.sources), message
        assert not [comment for comment in message.comments if "fuzzy" in comment or comment.startswith("#~")], message


def test_deleting_is_called_as_in_djangos_admin(catalogue):
    """ "Remover"; the law's "eliminar" is for a person's data."""
    texts = " ".join(text for message in messages(catalogue) for text in message.translations)
    assert re.findall(r"(?i)\b(?:exclu[aií]|apag)\w*", texts) == []


def test_the_heading_is_filled_in(catalogue):
    heading = messages(catalogue)[0]
    assert heading.sources == [""]
    assert "\nLanguage: pt_BR\n" in heading.translations[0]
    assert "\nPlural-Forms: nplurals=2; plural=(n > 1);\n" in heading.translations[0]
    text = catalogue.read_text()
    assert not [words for words in ("SOME DESCRIPTIVE", "PACKAGE", "FULL NAME", "YEAR", "LANGUAGE") if words in text]


def test_what_is_compiled_is_the_same(catalogue):
    with catalogue.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    expected = {}
    for message in messages(catalogue)[1:]:
        # As gettext keys a message that has a context.
        key = f"{message.context}\4{message.sources[0]}" if message.context else message.sources[0]
        if len(message.sources) == 1:
            expected[key] = message.translations[0]
        else:
            expected |= {(key, number): text for number, text in enumerate(message.translations)}
    assert {source: text for source, text in compiled._catalog.items() if source} == expected


def test_placeholders_and_markup_are_kept(catalogue):
    for message in messages(catalogue):
        for source, text in zip(message.sources, message.translations, strict=True):
            kept = [sorted(re.findall(r"%\(\w+\)[a-z]|\{\w+\}|</?\w+>", of)) for of in (source, text)]
            assert kept[0] == kept[1], message


def test_sentences_end_as_they_do_in_english(catalogue):
    for message in messages(catalogue)[1:]:
        for source, text in zip(message.sources, message.translations, strict=True):
            assert re.search(r"[.:?]?$", source)[0] == re.search(r"[.:?]?$", text)[0], message


def test_nothing_is_said_to_be_delivered(catalogue):
    """The provider says that WhatsApp has a message, never that the contact has."""
    assert "entregue" not in catalogue.read_text().lower()


# What people see

#: What the English of each message looks like on a screen, where Portuguese is not the same.
ENGLISH = [
    re.compile(re.sub(r"%\\\(\w+\\\)[a-z]", ".+", re.escape(source.strip().rstrip(":"))), re.IGNORECASE)
    for catalogue in CATALOGUES
    for message in messages(catalogue)[1:]
    for source, text in zip(message.sources, message.translations, strict=True)
    # "for" between two placeholders would be found in Portuguese.
    if source != text and source != "%(url)s for %(webhooks)s"
]


def english_in(lines):
    """Those of the lines that are a message in English."""
    lines = [line.strip().rstrip(":") for line in lines]
    return [line for line in lines if any(pattern.fullmatch(line) for pattern in ENGLISH)]


class Texts(HTMLParser):
    """What a page shows and what it says to a screen reader."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in {"title", "placeholder", "aria-label"}]

    def handle_data(self, data):
        self.found.append(data)


@pytest.fixture
def pages():
    """Texts of the admin's pages in a language, by a name of each page."""
    shown = event(
        outcome="failed",
        error="Phone number does not exist",
        custom_id="PED-1",
        payload=EXAMPLE,
        dispatch_status=Status.EXHAUSTED,
        dispatch_attempts=5,
        dispatch_error="receivers.mark_order: ValueError",
        times_received=2,
    )
    for dispatch in Status:
        event(dispatch_status=dispatch, dispatch_due_at=timezone.now())
    for outcome in DeliveryEvent.Outcome:
        status(outcome, "3EB0", participant=f"554499999999{len(outcome)}", phone="120363019502650977-group")
    refused = rejected(errors={"zaapId": ["required"], "phone": ["blank", "unheard_of"]}, times_received=2)
    for reason in RejectedCallback.Reason:
        rejected(reason=reason)
    Registration.objects.create(account="default", webhook="messageStatus", secret_id="00000000")
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    admin = "/admin/django_plugchat/"
    urls = {
        "index": "/admin/",
        "list": f"{admin}deliveryevent/",
        "event": f"{admin}deliveryevent/{shown.pk}/change/",
        "status of a group": f"{admin}deliveryevent/{DeliveryEvent.objects.statuses().first().pk}/change/",
        "chart": f"{admin}deliveryevent/chart/",
        "nothing found": f"{admin}deliveryevent/?q=x&situation=read",
        "rejected list": f"{admin}rejectedcallback/",
        "rejected": f"{admin}rejectedcallback/{refused.pk}/change/",
        "overview": f"{admin}connection/",
    }
    questions = {
        ("deliveryevent", "redispatch"): shown,
        ("deliveryevent", "delete_selected"): shown,
        ("rejectedcallback", "replay"): refused,
    }

    def pages(language):
        headers = {"Accept-Language": language}
        answers = {name: client.get(url, headers=headers) for name, url in urls.items()}
        with connected(Receiver()):
            for (model, action), row in questions.items():
                data = {"action": action, "_selected_action": [row.pk]}
                answers[action] = client.post(f"{admin}{model}/", data, headers=headers)
        return {name: Texts(answer.content.decode()).found for name, answer in answers.items()}

    return pages


@pytest.mark.django_db
def test_no_page_has_english_left(pages):
    for name, texts in pages("pt-br").items():
        assert not english_in(texts), name


@pytest.mark.django_db
def test_english_would_be_found(pages):
    found = {name: english_in(texts) for name, texts in pages("en").items()}
    assert all(found.values()), found
    assert "Rejected callbacks" in found["index"]
    assert {"Sent", "Dispatch again", "Export all as CSV", "Any time"} <= set(found["list"])
    assert {"History of this message", "Identification", "Dispatch error"} <= set(found["event"])
    assert "Why messages were not sent" in found["chart"]
    assert "Nothing found. It may be that" in found["nothing found"]
    assert {"zaapId is missing.", "Replay"} <= set(found["rejected list"])
    assert {"phone is unusable.", "What is wrong", "Replay"} <= set(found["rejected"])
    assert "How the accounts are doing" in found["overview"]
    assert "1 message will be deleted for good." in found["delete_selected"]


@pytest.mark.django_db
def test_commands_speak_portuguese():
    event(account="former")
    rejected()
    output = io.StringIO()
    with translation.override("pt-br"):
        call_command("plugchat_prune", dry_run=True, stdout=output)
        call_command("plugchat_forget", "+55 44 99999-9999", dry_run=True, stdout=output)
        with pytest.raises(CommandError, match=r"\d pontos precisam de atenção") as caught:
            call_command("plugchat_status", stdout=output)
    assert "former, não está mais configurada" in output.getvalue()
    assert not english_in([*output.getvalue().splitlines(), str(caught.value)])


COMMANDS = [name for name, app in get_commands().items() if name.startswith("plugchat_") or name == "demo"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_speaks_portuguese(name):
    # Which Django does not translate.
    of_django = {action.dest for action in BaseCommand().create_parser("manage.py", name)._actions}

    def texts(language):
        with translation.override(language):
            parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        own = [action for action in parser._actions if action.dest not in of_django]
        return [parser.description, *(action.help for action in own)]

    assert len(texts("en")) > 1
    assert all(texts("en"))
    assert not set(texts("en")) & set(texts("pt-br"))


# The README


def found_in_both(pattern):
    first, second = (re.findall(pattern, readme, re.MULTILINE | re.DOTALL) for readme in READMES)
    assert first == second
    return first


def test_both_readmes_have_the_same_blocks():
    """Apart from comments, and from what stands for a token."""
    blocks = [re.findall(r"^ *```(\w+)\n(.*?)^ *```$", readme, re.MULTILINE | re.DOTALL) for readme in READMES]
    first, second = (
        [(language, re.sub(r"# .*|(?<=PLUGCHAT_TOKEN=)\S+", "", block)) for language, block in of_one]
        for of_one in blocks
    )
    assert first == second
    assert len(first) > 10


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(#+) ",  # sections
        r"^( *)(?:-|\d\.) ",  # lists
        r"/docs/(?:pt-br/)?([\w/-]+\.md)",  # pages
        r"--[a-z-]+",
        r"`[A-Z_]+`",
    ],
)
def test_both_readmes_say_the_same(pattern):
    assert len(found_in_both(pattern)) >= 3


def test_each_readme_leads_to_the_other():
    assert "/README.pt-BR.md)" in READMES[0]
    assert "/README.md)" in READMES[1]


@pytest.mark.parametrize("readme", READMES)
def test_the_links_of_the_readme_lead_somewhere(readme):
    """By whole addresses, which an index of packages can follow too."""
    targets = re.findall(r"\]\(([^)]*)\)", readme)
    assert all(target.startswith("https://") for target in targets)
    ours = [match[1] for target in targets if (match := re.search(r"django-plugchat(?:/blob)?/main/([^#]*)", target))]
    assert len(ours) > 10
    for path in ours:
        assert (ROOT / path).exists(), path
