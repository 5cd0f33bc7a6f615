from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from django_plugchat import dispatch, spool, times
from django_plugchat.conf import app_settings
from django_plugchat.upkeep import spooled, sweeps


class Command(BaseCommand):
    help = gettext_noop(
        "Store what this host kept while the database was away, then hand the events that are due to the dispatcher: "
        "those never tried, those to be tried again, and those whose worker died. Run it every minute, as the user of "
        "the web server; with a SPOOL_DIR on every web host."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        parser.add_argument("--limit", type=int, metavar="N", help=_("Take at most N events."))
        parser.add_argument(
            "--inline",
            action="store_true",
            help=_("Call the receivers in this process, here and now, whatever the dispatcher is."),
        )
        parser.add_argument(
            "--now",
            action="store_true",
            help=_("Also take the events that wait for the pause after a failed attempt to end."),
        )
        parser.add_argument(
            "--include-none",
            action="store_true",
            help=_("Also take the events stored while no receiver was connected; needs --since."),
        )
        parser.add_argument(
            "--since",
            metavar="DATE",
            help=_(
                "With --include-none: those received since then. YYYY-MM-DD or an ISO date and time, in the current "
                "time zone where it names none."
            ),
        )

    def handle(
        self, *, limit: int | None, inline: bool, now: bool, include_none: bool, since: str | None, **options: Any
    ) -> None:
        if limit is not None and limit < 1:
            raise CommandError(_("%(option)s must be at least 1.") % {"option": "--limit"})
        if include_none != bool(since):
            raise CommandError(_("Use --include-none and --since DATE together."))
        if inline and not dispatch.has_receivers():
            raise CommandError(
                _(
                    "No receiver of delivery_recorded is connected in this process, so nothing was tried. "
                    "Import your receivers in an AppConfig.ready()."
                )
            )
        none_since = _moment(since) if since else None
        try:
            self.take_over()
            swept = sweeps.sweep(limit=limit, inline=inline, now=now, none_since=none_since)
        except Error as error:
            raise CommandError(
                _("The database failed (%(error)s). Callbacks that wait in the spool: %(count)d.")
                % {"error": type(error).__name__, "count": spool.waiting()[0]}
            ) from None
        self.stdout.write("\n".join(_lines(swept, inline=inline)))
        if swept.refused:
            raise CommandError(
                ngettext(
                    "The dispatcher failed for %(count)d event, which is still due. The log says why.",
                    "The dispatcher failed for %(count)d events, which are still due. The log says why.",
                    swept.refused,
                )
                % {"count": swept.refused}
            )
        if swept.failed:
            raise CommandError(
                ngettext(
                    "%(count)d attempt failed. The event names the receiver and its error.",
                    "%(count)d attempts failed. The events name the receivers and their errors.",
                    swept.failed,
                )
                % {"count": swept.failed}
            )

    def take_over(self) -> None:
        try:
            drained = spooled.drain()
        except OSError as error:
            raise CommandError(
                _("The spool %(folder)s could not be taken over: %(error)s.")
                % {"folder": app_settings.spool_dir, "error": error.strerror}
            ) from None
        if drained.taken:
            self.stdout.write(
                ngettext(
                    "%(count)d callback was taken over from the spool.",
                    "%(count)d callbacks were taken over from the spool.",
                    drained.taken,
                )
                % {"count": drained.taken}
            )
        if drained.set_aside:
            self.stdout.write(
                ngettext(
                    "%(count)d file of the spool could not be taken over and was set aside. The log says why.",
                    "%(count)d files of the spool could not be taken over and were set aside. The log says why.",
                    drained.set_aside,
                )
                % {"count": drained.set_aside}
            )


def _lines(swept: sweeps.Sweep, *, inline: bool) -> Iterator[str]:
    if not swept.taken:
        yield _("No event was taken.")
    elif inline:
        yield ngettext("%(count)d event was tried.", "%(count)d events were tried.", swept.taken) % {
            "count": swept.taken
        }
    else:
        yield ngettext(
            "%(count)d event was handed to the dispatcher.",
            "%(count)d events were handed to the dispatcher.",
            swept.taken,
        ) % {"count": swept.taken}
    if swept.done:
        yield ngettext("All receivers took %(count)d event.", "All receivers took %(count)d events.", swept.done) % {
            "count": swept.done
        }
    if swept.failed:
        yield ngettext(
            "A receiver failed with %(count)d event.", "Receivers failed with %(count)d events.", swept.failed
        ) % {"count": swept.failed}
    if swept.exhausted:
        yield ngettext(
            "%(count)d event had no attempt left and was given up.",
            "%(count)d events had no attempt left and were given up.",
            swept.exhausted,
        ) % {"count": swept.exhausted}
    if swept.left:
        yield ngettext(
            "%(count)d event is left for a later run.", "%(count)d events are left for a later run.", swept.left
        ) % {"count": swept.left}
    if swept.next_due_at:
        yield ngettext(
            "%(count)d event waits for its next attempt (%(time)s). --now takes it at once.",
            "%(count)d events wait for their next attempt (the first: %(time)s). --now takes them at once.",
            swept.waiting,
        ) % {"count": swept.waiting, "time": times.shown(swept.next_due_at)}


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
        if moment is not None:
            stored = times.as_stored(moment)
            stored.astimezone(UTC)  # what a database does with it
            return stored
    except (ValueError, OverflowError):
        pass
    raise CommandError(_("--since needs a date like 2026-01-31, or an ISO date and time."))
