"""A migration as later ones may be: while it runs, and after it, the code of before goes on storing callbacks."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


class AddIndexConcurrently(migrations.AddIndex):
    """Builds an index while rows are written. PostgreSQL has to be told; MariaDB does so in any case."""

    atomic = False

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        # django.contrib.postgres has such an operation, for PostgreSQL alone.
        options = {"concurrently": True} if schema_editor.connection.vendor == "postgresql" else {}
        schema_editor.add_index(to_state.apps.get_model(app_label, self.model_name), self.index, **options)


class Migration(migrations.Migration):
    dependencies = [("django_plugchat", "0001_initial")]
    atomic = False
    operations = [
        migrations.AddField("DeliveryEvent", "seen_at", models.DateTimeField(null=True)),
        migrations.AddField("DeliveryEvent", "channel", models.CharField(max_length=20, db_default="whatsapp")),
        AddIndexConcurrently("DeliveryEvent", models.Index(fields=["channel"], name="plugchat_event_channel")),
        migrations.CreateModel("Channel", [("id", models.BigAutoField(primary_key=True))]),
    ]
