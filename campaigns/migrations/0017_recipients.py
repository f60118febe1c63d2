"""What lists and reports of a campaign are read by: the times of its messages; and a stream for those who get nothing."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations, models

from config.at_once import AtOnce


# People who were to get nothing stood under no variant of campaigns that have some; of others they stay at a device.
NOBODYS_SQL = """
UPDATE campaigns_stream s SET variant = 32767
WHERE s.variant = 0 AND EXISTS (SELECT 1 FROM campaigns_variant v WHERE v.campaign_id = s.campaign_id)
"""
BACK_SQL = "UPDATE campaigns_stream SET variant = 0 WHERE variant = 32767"


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0016_contact_search")]

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
            migrations.RemoveIndex(model_name="message", name="messages_of_erased"),
            migrations.AlterField(
                model_name="stream",
                name="variant",
                field=models.PositiveSmallIntegerField(
                    db_default=0,
                    default=0,
                    help_text="Number of the campaign's variant; 0: the campaign's own content; "
                    "32767: of those who get none.",
                ),
            ),
        ]),
        migrations.RunSQL(NOBODYS_SQL, BACK_SQL),
    ]
