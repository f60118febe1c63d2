import django.db.models.deletion
from django.db import migrations, models

import accounts.tenancy
from accounts import tenancy


from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_workspace_weight'),
        ('devices', '0003_pages_say_gap'),
    ]

    operations = [
        AtOnce([
            migrations.AddField(
                model_name='device',
                name='pair_phone',
                field=models.CharField(blank=True, help_text='E.164: the only number that may be linked; empty: any.', max_length=16, null=True),
            ),
            migrations.AddField(
                model_name='device',
                name='pair_by_code',
                field=models.BooleanField(default=False, help_text='Linked by a code that is typed on the phone, and not by scanning one.'),
            ),
            migrations.CreateModel(
                name='SessionVault',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('host', models.CharField(blank=True, help_text='Whose disk has the session file as it is now.', max_length=40)),
                    ('sealed', models.BinaryField(help_text='The session file, packed and encrypted.', null=True)),
                    ('sealed_at', models.DateTimeField(blank=True, null=True)),
                    ('is_clean', models.BooleanField(default=False, help_text='Handed over: nobody has opened the session since this copy was taken.')),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                    ('device', accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='vault', to='devices.device')),
                ],
                options={
                    'constraints': [models.UniqueConstraint(fields=('device',), name='one_vault_per_device')],
                },
            ),
        ]),
        tenancy.Wall('SessionVault', grant=''),
    ]
