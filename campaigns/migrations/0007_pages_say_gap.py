"""Words only: pages say gap. Nothing changes in the database."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('campaigns', '0006_one_check_fewer'),
    ]

    operations = [
        migrations.AlterField(
            model_name='stream',
            name='spread',
            field=models.BooleanField(db_default=False, default=False, help_text="Its first send has its place within the device's longest gap."),
        ),
    ]
