"""Words only: pages say gap. Nothing changes in the database."""

import django.core.validators
from django.db import migrations, models


from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0002_pace_and_meters'),
    ]

    operations = [
        AtOnce([
            migrations.AlterField(
                model_name='device',
                name='max_delay',
                field=models.FloatField(default=30, help_text='Seconds between two messages; each gap is drawn between the two.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(86400)], verbose_name='longest gap'),
            ),
            migrations.AlterField(
                model_name='device',
                name='min_delay',
                field=models.FloatField(default=10, help_text='Seconds between two messages, at least.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(86400)], verbose_name='shortest gap'),
            ),
            migrations.AlterConstraint(
                model_name='device',
                name='delays_in_order',
                constraint=models.CheckConstraint(condition=models.Q(('max_delay__gte', models.F('min_delay')), ('min_delay__gte', 0)), name='delays_in_order', violation_error_message='The longest gap is at least the shortest gap.'),
            ),
        ]),
    ]
