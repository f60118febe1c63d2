"""Heartbeats of programs, incidents, and results that are kept. None belongs to a workspace."""

from django.db import migrations, models

from config.at_once import AtOnce


class Migration(migrations.Migration):

    initial = True

    dependencies = []

    operations = [
        AtOnce([
            migrations.CreateModel(
                name='Heartbeat',
                fields=[
                    ('name', models.CharField(help_text='kind@machine:process', max_length=120, primary_key=True, serialize=False)),
                    ('kind', models.CharField(help_text='web, worker or clock', max_length=20)),
                    ('machine', models.CharField(max_length=80)),
                    ('started_at', models.DateTimeField()),
                    ('at', models.DateTimeField()),
                    ('told', models.JSONField(default=dict, help_text='What it said of itself.')),
                ],
            ),
            migrations.CreateModel(
                name='Kept',
                fields=[
                    ('name', models.CharField(max_length=20, primary_key=True, serialize=False)),
                    ('at', models.DateTimeField()),
                    ('value', models.JSONField(default=dict)),
                ],
            ),
            migrations.CreateModel(
                name='Incident',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('part', models.CharField(max_length=20)),
                    ('state', models.CharField(choices=[('warn', 'Needs a look'), ('bad', 'Does not work')], max_length=8)),
                    ('since', models.DateTimeField()),
                    ('until', models.DateTimeField(blank=True, help_text='Empty while it lasts.', null=True)),
                    ('sentence', models.CharField(max_length=300)),
                ],
                options={
                    'indexes': [models.Index(fields=['-since'], name='incidents_by_time')],
                    'constraints': [models.UniqueConstraint(condition=models.Q(('until__isnull', True)), fields=('part',), name='one_open_incident_per_part')],
                },
            ),
        ]),
    ]
