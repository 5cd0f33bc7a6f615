from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from django_plugchat import spool
from django_plugchat.conf import app_settings
from django_plugchat.management.progress import progress
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.upkeep import deletion, spooled

# One parameter each, of which SQLite takes 32,766.
_LARGEST_BATCH = 10_000


class Command(BaseCommand):
    help = gettext_noop(
        "Delete the events received, and the rejected callbacks last received, more than RETENTION_DAYS ago, and the "
        "files of this host's spool. May be interrupted, and goes on where it was when run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        parser.add_argument("--days", type=int, metavar="N", help=_("Instead of RETENTION_DAYS."))
        parser.add_argument("--dry-run", action="store_true", help=_("Say how many, and delete nothing."))
        parser.add_argument(
            "--batch-size", type=int, default=1000, metavar="N", help=_("Rows deleted at once. Default: %(default)s")
        )
        parser.add_argument(
            "--include-pending", action="store_true", help=_("Also the events that are still to be dispatched.")
        )

    def handle(
        self, *, days: int | None, dry_run: bool, batch_size: int, include_pending: bool, **options: Any
    ) -> None:
        if not 1 <= batch_size <= _LARGEST_BATCH:
            raise CommandError(_("--batch-size goes from 1 to %(largest)d.") % {"largest": _LARGEST_BATCH})
        if not dry_run:
            deletion.tell_sqlite()
        if days is None:
            days = app_settings.retention_days
        if days is None:
            self.stdout.write(_("Retention is off: RETENTION_DAYS is None. Nothing was deleted."))
            return
        try:
            before = timezone.now() - timedelta(days=days)
        except OverflowError:
            before = None
        if before is None or days < 0:
            raise CommandError(_("%(days)d days ago is no date to delete by.") % {"days": days})
        events = deletion.old_events(before, include_pending=include_pending)
        rejected = deletion.old_rejected(before)
        counts = {DeliveryEvent: 0, RejectedCallback: 0}
        needed, needed_by = 0, set[str]()
        in_batches = partial(deletion.delete_in_batches, batch_size=batch_size, dry_run=dry_run)
        deletions = {
            DeliveryEvent: in_batches(events, by="received_at"),
            RejectedCallback: in_batches(rejected, by="pk"),
        }
        try:
            with progress(events.count() + rejected.count()) as step:
                for model, of_model in deletions.items():
                    for done in of_model:
                        counts[model] += done.deleted
                        needed += len(done.needed)
                        needed_by = needed_by.union(*done.needed.values())
                        step(done.deleted + len(done.needed))
        except KeyboardInterrupt:
            self._print(*counts.values(), dry_run=dry_run)
            raise CommandError(_("Interrupted. Run it again for the rest."), returncode=130) from None
        self._print(*counts.values(), dry_run=dry_run)
        if needed:
            self.stdout.write(
                ngettext(
                    "Kept %(count)d old row that rows of other tables need: %(needed_by)s.",
                    "Kept %(count)d old rows that rows of other tables need: %(needed_by)s.",
                    needed,
                )
                % {"count": needed, "needed_by": ", ".join(sorted(needed_by))}
            )
        self.prune_spool(before, include_pending=include_pending, dry_run=dry_run)
        kept = 0 if include_pending else deletion.old_but_pending_events(before).count()
        if kept:
            self.stdout.write(
                ngettext(
                    "Kept %(count)d old event that is still to be dispatched; --include-pending deletes it too.",
                    "Kept %(count)d old events that are still to be dispatched; --include-pending deletes them too.",
                    kept,
                )
                % {"count": kept}
            )

    def prune_spool(self, before: datetime, *, include_pending: bool, dry_run: bool) -> None:
        if not app_settings.spool_dir:
            return
        try:
            with spool.alone(wait=True):
                old = spooled.old(before, include_waiting=include_pending)
                for path in () if dry_run else old:
                    spool.delete(path)
        except OSError as error:
            raise CommandError(
                _("The spool %(folder)s could not be looked through: %(error)s.")
                % {"folder": app_settings.spool_dir, "error": error.strerror}
            ) from None
        if dry_run:
            text = ngettext(
                "Would delete %(count)d file of the spool.", "Would delete %(count)d files of the spool.", len(old)
            )
        else:
            text = ngettext("Deleted %(count)d file of the spool.", "Deleted %(count)d files of the spool.", len(old))
        self.stdout.write(text % {"count": len(old)})
        self.stdout.write(spooled.reach())

    def _print(self, events: int, rejected: int, *, dry_run: bool) -> None:
        if dry_run:
            lines = (
                ngettext("Would delete %(count)d event.", "Would delete %(count)d events.", events),
                ngettext(
                    "Would delete %(count)d rejected callback.", "Would delete %(count)d rejected callbacks.", rejected
                ),
            )
        else:
            lines = (
                ngettext("Deleted %(count)d event.", "Deleted %(count)d events.", events),
                ngettext("Deleted %(count)d rejected callback.", "Deleted %(count)d rejected callbacks.", rejected),
            )
        for line, count in zip(lines, (events, rejected), strict=True):
            self.stdout.write(line % {"count": count})
