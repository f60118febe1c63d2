import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import accounts.tenancy
from accounts import tenancy


from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_workspace_weight'),
        ('campaigns', '0010_contact_moves'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AtOnce([
            migrations.AddField(
                model_name='campaign',
                name='leave_out_absent',
                field=models.BooleanField(db_default=False, default=False, help_text='Whoever is known not to be on WhatsApp when planned is skipped.'),
            ),
            migrations.CreateModel(
                name='CheckRun',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('total', models.PositiveIntegerField(help_text='Numbers nobody knew about when it began.')),
                    ('last_phone', models.CharField(blank=True, help_text='The last number that was asked about.', max_length=16)),
                    ('asked', models.PositiveIntegerField(default=0)),
                    ('answered', models.PositiveIntegerField(default=0)),
                    ('absent', models.PositiveIntegerField(default=0, help_text='Answered: not on WhatsApp.')),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('finished_at', models.DateTimeField(blank=True, null=True)),
                    ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('tag', accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='campaigns.tag')),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'indexes': [models.Index(fields=['workspace', '-id'], name='check_runs_of_workspace')],
                    'constraints': [models.UniqueConstraint(condition=models.Q(('finished_at__isnull', True)), fields=('workspace',), name='one_open_check_run_per_workspace')],
                },
            ),
            migrations.CreateModel(
                name='NumberCheck',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('phone', models.CharField(help_text='E.164.', max_length=16)),
                    ('on_whatsapp', models.BooleanField()),
                    ('checked_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'constraints': [models.UniqueConstraint(fields=('workspace', 'phone'), name='one_check_per_phone')],
                },
            ),
        ]),
        tenancy.Wall('CheckRun', 'NumberCheck'),
    ]
