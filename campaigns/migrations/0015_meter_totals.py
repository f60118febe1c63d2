"""What meters counted in all; what was sent before there were any is no news to them."""

import campaigns.models.meter
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import accounts.tenancy
from accounts import tenancy
from config.at_once import AtOnce

SENT_BEFORE_SQL = """
INSERT INTO campaigns_metertotal (workspace_id, device_id, ahead)
SELECT workspace_id, device_id,
       ARRAY[sum(sent + delivered + read), sum(dead), sum(delivered + read), sum(replied)]::bigint[]
FROM campaigns_stream GROUP BY workspace_id, device_id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('campaigns', '0014_meters'),
    ]

    operations = [
        AtOnce([
            migrations.CreateModel(
                name='MeterTotal',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('sent', models.PositiveBigIntegerField(db_default=0, default=0)),
                    ('failed', models.PositiveBigIntegerField(db_default=0, default=0)),
                    ('delivered', models.PositiveBigIntegerField(db_default=0, default=0)),
                    ('replied', models.PositiveBigIntegerField(db_default=0, default=0)),
                    ('ahead', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=campaigns.models.meter.nothing_ahead, help_text='Of each of the four, in this order.', size=None)),
                    ('device', accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='devices.device')),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'constraints': [models.UniqueConstraint(fields=('workspace', 'device'), name='one_total_per_device')],
                },
            ),
        ]),
        tenancy.Wall('MeterTotal', grant='SELECT'),
        migrations.RunSQL(SENT_BEFORE_SQL, migrations.RunSQL.noop),
    ]
