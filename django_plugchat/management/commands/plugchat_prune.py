from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from django_plugchat import spool
from django_plugchat.conf import app_settings
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
        old = {
            "received_at": deletion.old_events(before, include_pending=include_pending),
            "pk": RejectedCallback.objects.for_writing().filter(last_received_at__lt=before),
        }
        deleted, files, needed, needed_by = Counter[Any](), 0, 0, set[str]()
        try:
            for by, rows in old.items():
                for done in deletion.delete_in_batches(rows, by=by, batch_size=batch_size, dry_run=dry_run):
                    deleted[rows.model] += done.deleted
                    needed += len(done.needed)
                    needed_by = needed_by.union(*done.needed.values())
            files = _prune_spool(before, include_waiting=include_pending, dry_run=dry_run)
        except KeyboardInterrupt:
            raise CommandError(_("Interrupted. Run it again for the rest."), returncode=130) from None
        except OSError as error:
            raise CommandError(_("The spool can't be used (%(error)s).") % {"error": error}) from None
        finally:
            self.stdout.write(_("Events: %(count)d") % {"count": deleted[DeliveryEvent]})
            self.stdout.write(_("Rejected callbacks: %(count)d") % {"count": deleted[RejectedCallback]})
            if app_settings.spool_dir:
                self.stdout.write(_("Callbacks in the spool: %(count)d") % {"count": files})
                self.stdout.write(spooled.reach())
            self.stdout.write(_("That is what would be deleted.") if dry_run else _("All that is deleted."))
        if needed:
            text = _("Kept, because rows of other tables (%(needed_by)s) need them: %(count)d")
            self.stdout.write(text % {"count": needed, "needed_by": ", ".join(sorted(needed_by))})
        if not include_pending and (kept := deletion.old_events(before, include_pending=True).unfinished().count()):
            text = _("Kept, because they are still to be dispatched: %(count)d (not so with --include-pending)")
            self.stdout.write(text % {"count": kept})


def _prune_spool(before: datetime, *, include_waiting: bool, dry_run: bool) -> int:
    with spool.alone(wait=True):
        old = spooled.old(before, include_waiting=include_waiting)
        for path in () if dry_run else old:
            path.unlink()
    return len(old)
