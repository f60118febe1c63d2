"""The times of messages, by the pages they are on: what lists of one hour are found by."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations

from config.at_once import AtOnce


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0013_audience")]

    operations = [
        AtOnce([
            migrations.AddIndex(
                model_name="message",
                index=BrinIndex(
                    fields=["sent_at", "delivered_at", "read_at"],
                    pages_per_range=16,
                    autosummarize=True,
                    name="messages_by_time",
                ),
            ),
        ]),
    ]
