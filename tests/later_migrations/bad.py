"""A migration as later ones must not be: Django's ``default`` is not the database's."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_plugchat", "0001_initial")]
    operations = [
        migrations.AddField("DeliveryEvent", "channel", models.CharField(max_length=20, default="whatsapp")),
        migrations.AddField("DeliveryEvent", "seen_at", models.DateTimeField(null=True, db_index=True)),
        migrations.AddIndex("DeliveryEvent", models.Index(fields=["channel"], name="plugchat_event_channel")),
        migrations.AddConstraint(
            "DeliveryEvent", models.UniqueConstraint(fields=["channel", "id"], name="plugchat_event_channel_id")
        ),
    ]
