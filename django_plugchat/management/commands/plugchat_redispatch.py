from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_plugchat import dispatch


class Command(BaseCommand):
    help = (
        "Hand the events that are due to the dispatcher: those never tried, those whose attempt failed, and those "
        "whose worker died. Run it every minute."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--limit", type=int, metavar="N", help="Take at most N events.")
        parser.add_argument(
            "--inline",
            action="store_true",
            help="Call the receivers in this process, here and now, whatever the dispatcher is.",
        )
        parser.add_argument(
            "--include-none",
            action="store_true",
            help="Also take the events stored while no receiver was connected; with --since.",
        )
        parser.add_argument(
            "--since",
            metavar="DATE",
            help="With --include-none: those received since then. YYYY-MM-DD or an ISO date and time, in the current "
            "time zone where it names none.",
        )

    def handle(self, *, limit: int | None, inline: bool, include_none: bool, since: str | None, **options: Any) -> None:
        if limit is not None and limit < 1:
            raise CommandError(_("%(option)s must be at least 1.") % {"option": "--limit"})
        if include_none != bool(since):
            raise CommandError(_("--include-none and --since DATE go together: say since when."))
        if inline and not dispatch.has_receivers():
            raise CommandError(
                _(
                    "No receiver of delivery_recorded is connected in this process, so nothing was tried. "
                    "Import your receivers in an AppConfig.ready()."
                )
            )
        swept = dispatch.sweep(limit=limit, inline=inline, none_since=_moment(since) if since else None)
        self.stdout.write("\n".join(_lines(swept, inline=inline)) or _("Nothing to hand over."))
        if swept.refused:
            raise CommandError(
                ngettext(
                    "The dispatcher failed for %(count)d event; it is still due. The log says why.",
                    "The dispatcher failed for %(count)d events; they are still due. The log says why.",
                    swept.refused,
                )
                % {"count": swept.refused}
            )
        if swept.failed:
            raise CommandError(
                ngettext(
                    "%(count)d attempt failed; the event says which receiver raised what.",
                    "%(count)d attempts failed; the events say which receiver raised what.",
                    swept.failed,
                )
                % {"count": swept.failed}
            )


def _lines(swept: dispatch.Sweep, *, inline: bool) -> Iterator[str]:
    if swept.taken and inline:
        yield ngettext("%(count)d event tried.", "%(count)d events tried.", swept.taken) % {"count": swept.taken}
    elif swept.taken:
        yield ngettext(
            "%(count)d event handed over to the dispatcher.",
            "%(count)d events handed over to the dispatcher.",
            swept.taken,
        ) % {"count": swept.taken}
    if swept.done:
        yield ngettext("%(count)d event done.", "%(count)d events done.", swept.done) % {"count": swept.done}
    if swept.failed:
        yield ngettext("%(count)d event failed.", "%(count)d events failed.", swept.failed) % {"count": swept.failed}
    if swept.exhausted:
        yield ngettext(
            "%(count)d event had no attempt left: exhausted.",
            "%(count)d events had no attempt left: exhausted.",
            swept.exhausted,
        ) % {"count": swept.exhausted}
    if swept.left:
        yield ngettext(
            "%(count)d event left for a later run.", "%(count)d events left for a later run.", swept.left
        ) % {"count": swept.left}


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(_("--since: not a date like 2026-01-31, nor an ISO date and time."))
    if settings.USE_TZ and timezone.is_naive(moment):
        return timezone.make_aware(moment)
    if timezone.is_aware(moment) and not settings.USE_TZ:
        return timezone.make_naive(moment, timezone.get_default_timezone())
    return moment
