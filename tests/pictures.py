"""Make the pictures of the README and the documentation again: ``python -m tests.pictures [FOLDER]``.

They show the demo's callbacks, to somebody who may not see whole phone numbers.
"""

import os
import sys
import tempfile
from datetime import timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from PIL import Image

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
LANGUAGES = ("en", "pt-br")
# Few enough for a small file, and enough for text to have smooth edges.
COLOURS = 128
#: How long after its message a status comes.
LATER = {"received": timedelta(seconds=40), "read": timedelta(minutes=6)}
BETWEEN_MESSAGES = timedelta(minutes=11)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
        os.environ["DATABASE_URL"] = f"sqlite:///{scratch}/demo.sqlite3"
        django.setup()
        call_command("demo", port=0, once=True, stdout=StringIO())
        take(folder, Path(scratch))


def take(folder: Path, scratch: Path) -> None:
    # Neither has models to import before django.setup().
    from django.urls import reverse

    from . import browser as browsers

    messages = messages_over_hours()
    person = browsers.support_lead(whole_phones=False)
    pages = {
        "list": (reverse("admin:django_plugchat_deliveryevent_changelist"), 900),
        "message": (reverse("admin:django_plugchat_deliveryevent_change", args=[messages[0].pk]), 690),
    }
    for language in LANGUAGES:
        with browsers.opened(scratch / language, language) as browser:
            browser.log_in(person)
            browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
            for name, (path, height) in pages.items():
                browser.look(browsers.LAPTOP, height=height)
                browser.open(path)
                image = Image.open(BytesIO(browser.get_screenshot_as_png())).convert("RGB")
                image.quantize(COLOURS, dither=Image.Dither.NONE).save(folder / f"{name}.{language}.png", optimize=True)


def messages_over_hours() -> list[Any]:
    """The demo's messages, that of its story first, as if they had not all come within a second."""
    from django_plugchat.models import DeliveryEvent

    messages = list(DeliveryEvent.objects.deliveries().order_by("pk"))
    newest = max(message.received_at for message in messages)
    for number, message in enumerate(messages, start=1):
        for told in [message, *DeliveryEvent.objects.statuses().filter(message_id=message.message_id)]:
            moment = newest - number * BETWEEN_MESSAGES + LATER.get(told.outcome, timedelta())
            told.received_at = told.last_received_at = told.occurred_at = moment
            told.save()
    return messages


main(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
