"""Meters: what each device sent and heard by minute, hour and day."""

import accounts.tenancy
import campaigns.models.meter
import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

from accounts import tenancy
from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_quiet_hours'),
        ('campaigns', '0013_audience'),
        ('devices', '0005_holds'),
    ]

    operations = [
        AtOnce([
            migrations.CreateModel(
                name='DayMeter',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('start', models.DateTimeField()),
                    ('sent', models.PositiveIntegerField(default=0, help_text='Acknowledged by WhatsApp.')),
                    ('failed', models.PositiveIntegerField(default=0, help_text='Given up: dead.')),
                    ('delivered', models.PositiveIntegerField(default=0)),
                    ('replied', models.PositiveIntegerField(default=0, help_text='Messages that were answered.')),
                    ('time_ms', models.PositiveBigIntegerField(default=0, help_text='All processing times together.')),
                    ('times', django.contrib.postgres.fields.ArrayField(base_field=models.PositiveIntegerField(), default=campaigns.models.meter.no_times, help_text='Messages by class of `TIME_BOUNDS_MS`.', size=None)),
                    ('device', accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='devices.device')),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'indexes': [django.contrib.postgres.indexes.BrinIndex(fields=['start'], name='days_by_start', pages_per_range=16)],
                    'constraints': [models.UniqueConstraint(fields=('workspace', 'start', 'device'), name='one_day_per_device')],
                },
            ),
            migrations.CreateModel(
                name='HourMeter',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('start', models.DateTimeField()),
                    ('sent', models.PositiveIntegerField(default=0, help_text='Acknowledged by WhatsApp.')),
                    ('failed', models.PositiveIntegerField(default=0, help_text='Given up: dead.')),
                    ('delivered', models.PositiveIntegerField(default=0)),
                    ('replied', models.PositiveIntegerField(default=0, help_text='Messages that were answered.')),
                    ('time_ms', models.PositiveBigIntegerField(default=0, help_text='All processing times together.')),
                    ('times', django.contrib.postgres.fields.ArrayField(base_field=models.PositiveIntegerField(), default=campaigns.models.meter.no_times, help_text='Messages by class of `TIME_BOUNDS_MS`.', size=None)),
                    ('device', accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='devices.device')),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'indexes': [django.contrib.postgres.indexes.BrinIndex(fields=['start'], name='hours_by_start', pages_per_range=16)],
                    'constraints': [models.UniqueConstraint(fields=('workspace', 'start', 'device'), name='one_hour_per_device')],
                },
            ),
            migrations.CreateModel(
                name='MinuteMeter',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('start', models.DateTimeField()),
                    ('sent', models.PositiveIntegerField(default=0, help_text='Acknowledged by WhatsApp.')),
                    ('failed', models.PositiveIntegerField(default=0, help_text='Given up: dead.')),
                    ('delivered', models.PositiveIntegerField(default=0)),
                    ('replied', models.PositiveIntegerField(default=0, help_text='Messages that were answered.')),
                    ('time_ms', models.PositiveBigIntegerField(default=0, help_text='All processing times together.')),
                    ('times', django.contrib.postgres.fields.ArrayField(base_field=models.PositiveIntegerField(), default=campaigns.models.meter.no_times, help_text='Messages by class of `TIME_BOUNDS_MS`.', size=None)),
                    ('device', accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='devices.device')),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'indexes': [django.contrib.postgres.indexes.BrinIndex(fields=['start'], name='minutes_by_start', pages_per_range=16)],
                    'constraints': [models.UniqueConstraint(fields=('workspace', 'start', 'device'), name='one_minute_per_device')],
                },
            ),
        ]),
        tenancy.Wall('DayMeter', 'HourMeter', 'MinuteMeter', grant='SELECT'),
    ]
