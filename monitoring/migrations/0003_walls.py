"""Wall links: what hangs on a wall without sign-in."""

import uuid

import accounts.tenancy
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from accounts import tenancy
from config.at_once import AtOnce


class Migration(migrations.Migration):


    dependencies = [
        ('accounts', '0003_quiet_hours'),
        ('campaigns', '0014_meters'),
        ('devices', '0005_holds'),
        ('monitoring', '0002_alerts'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AtOnce([
        migrations.CreateModel(
            name='WallLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('name', models.CharField(help_text='Where it hangs; the screen never shows it.', max_length=80)),
                ('kind', models.CharField(choices=[('workers', 'Worker Status'), ('device', 'One device'), ('campaign', 'One campaign')], max_length=8)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('expires_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('campaign', accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='campaigns.campaign')),
                ('created_by', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('device', accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='devices.device')),
                ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'indexes': [models.Index(fields=['workspace', '-id'], name='wall_links')],
                'constraints': [models.CheckConstraint(condition=models.Q(('kind', 'workers'), models.Q(('device__isnull', False), ('kind', 'device')), models.Q(('campaign__isnull', False), ('kind', 'campaign')), _connector='OR'), name='a_wall_link_shows_something')],
            },
        ),
        ]),
        tenancy.Wall('WallLink'),
    ]
