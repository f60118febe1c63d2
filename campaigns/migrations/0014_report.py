"""Two indexes of few rows: messages with a reason, and those that were answered."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("campaigns", "0014_importing"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("reason", ""), _negated=True),
                fields=["campaign", "reason", "contact"],
                name="messages_with_reason",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("replied_at__isnull", False)),
                fields=["campaign", "contact"],
                name="answered_messages",
            ),
        ),
    ]
