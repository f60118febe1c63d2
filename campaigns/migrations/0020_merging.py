"""Merging a tag is a change of many people; nothing in the database changes."""

from django.db import migrations, models

from config.at_once import AtOnce

DEEDS = [
    ("tag", "Add a tag"),
    ("untag", "Take a tag off"),
    ("field", "Set a field"),
    ("status", "Set the status"),
    ("device", "Set the number they know"),
    ("delete", "Delete"),
    ("merge", "Merge a tag"),
]


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0019_words")]

    operations = [
        AtOnce(
            [
                migrations.AlterField(
                    model_name="contactchange", name="deed", field=models.CharField(choices=DEEDS, max_length=6)
                ),
                migrations.AlterField(
                    model_name="contactchange",
                    name="name",
                    field=models.CharField(
                        blank=True,
                        default="",
                        help_text="Of the tag or the field; of a merge, the tag that stays.",
                        max_length=60,
                    ),
                ),
                migrations.AlterField(
                    model_name="contactchange",
                    name="up_to",
                    field=models.PositiveBigIntegerField(
                        help_text="Contacts up to this id take part; of a merge, those still to come."
                    ),
                ),
                migrations.AlterField(
                    model_name="contactchange",
                    name="value",
                    field=models.CharField(
                        blank=True,
                        default="",
                        help_text="Of the field, status or device; of a merge, the tag that goes.",
                        max_length=1000,
                    ),
                ),
            ]
        )
    ]
