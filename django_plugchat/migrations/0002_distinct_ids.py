from typing import Any

from django.db import migrations

# PostgreSQL estimates from a sample how many different values a column has. Of millions of rows a sample shows thousands
# of ids where there are millions. So PostgreSQL expects hundreds of rows for one message, and spends far longer on
# compiling such a query (JIT) than on running it. Here it is told how many different ids there are for each row. It is
# less than one: statuses repeat the messageId, and have no zaapId or customId.
SHARES = {"zaap_id": -0.25, "message_id": -0.25, "custom_id": -0.05}


def tell_postgresql(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    table = schema_editor.quote_name(apps.get_model("django_plugchat", "DeliveryEvent")._meta.db_table)
    for column, share in SHARES.items():
        schema_editor.execute(
            f"ALTER TABLE {table} ALTER COLUMN {schema_editor.quote_name(column)} SET (n_distinct = {share})"
        )


class Migration(migrations.Migration):
    dependencies = [("django_plugchat", "0001_initial")]

    operations = [
        # By its hint a database router knows whether the table is on this database.
        migrations.RunPython(tell_postgresql, migrations.RunPython.noop, hints={"model_name": "deliveryevent"})
    ]
