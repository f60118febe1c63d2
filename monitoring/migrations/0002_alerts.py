"""Alerts, and who wants to hear of them by e-mail."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from accounts import tenancy
from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_quiet_hours'),
        ('campaigns', '0014_meters'),
        ('monitoring', '0001_health'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AtOnce([
            migrations.CreateModel(
                name='Alert',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('rule', models.CharField(max_length=24)),
                    ('about', models.CharField(blank=True, max_length=60)),
                    ('title', models.CharField(max_length=240)),
                    ('text', models.CharField(max_length=600)),
                    ('url', models.CharField(blank=True, max_length=400)),
                    ('since', models.DateTimeField()),
                    ('seen_at', models.DateTimeField()),
                    ('told', models.PositiveIntegerField(default=0, help_text='How often, of this time that it is so.')),
                    ('told_at', models.DateTimeField(blank=True, help_text='The last word of all, also of an earlier time.', null=True)),
                    ('ended_at', models.DateTimeField(blank=True, null=True)),
                    ('due_at', models.DateTimeField(blank=True, null=True)),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='alerts_due')],
                    'constraints': [models.UniqueConstraint(fields=('workspace', 'rule', 'about'), name='one_alert_per_object')],
                },
            ),
            migrations.CreateModel(
                name='AlertChoice',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('wanted', models.BooleanField()),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'constraints': [models.UniqueConstraint(fields=('workspace', 'user'), name='one_choice_per_member')],
                },
            ),
        ]),
        tenancy.Wall('Alert', grant='SELECT'),  # only the clock writes them
        tenancy.Wall('AlertChoice'),
    ]
