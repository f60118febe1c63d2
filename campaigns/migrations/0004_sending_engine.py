import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import accounts.tenancy
from accounts import tenancy


WHO_TRIED_SQL = """
UPDATE campaigns_attempt a SET device_id = s.device_id
FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id
WHERE m.id = a.message_id
"""

# What was known before these tables were.
KNOWN_SQL = """
INSERT INTO campaigns_uncertain (workspace_id, message_id, device_id, phone, tag, began_at)
SELECT m.workspace_id, m.id, s.device_id, m.phone, m.tag, m.attempted_at
FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id WHERE m.state = 'uncertain';
INSERT INTO campaigns_suppression (workspace_id, phone, source, reason)
SELECT workspace_id, phone, 'person', opted_out_reason FROM campaigns_contact WHERE opted_out_at IS NOT NULL;
"""


from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_workspace_weight'),
        ('campaigns', '0003_opted_out_contacts'),
        ('devices', '0002_pace_and_meters'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='device_id',
            field=models.BigIntegerField(help_text='Which device tried; the message may have moved since.', null=True),
        ),
        migrations.RunSQL(WHO_TRIED_SQL, migrations.RunSQL.noop),
        AtOnce([
            migrations.AlterField(
                model_name='attempt',
                name='device_id',
                field=models.BigIntegerField(help_text='Which device tried; the message may have moved since.'),
            ),
            migrations.AddField(
                model_name='campaign',
                name='assignment',
                field=models.CharField(choices=[('sticky', 'The number each person knows'), ('round_robin', 'All numbers in turn')], default='sticky', max_length=11),
            ),
            migrations.AddField(
                model_name='campaign',
                name='device_cap',
                field=models.PositiveIntegerField(blank=True, help_text='People a device gets at most from this campaign; empty: no cap.', null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='expire_after_h',
                field=models.PositiveIntegerField(blank=True, help_text='Hours after the start; what has not left by then expires. Empty: never.', null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='failover',
                field=models.CharField(choices=[('wait', 'Wait for the number'), ('other', 'Send from another number'), ('ask', 'Ask me')], default='wait', max_length=5),
            ),
            migrations.AddField(
                model_name='campaign',
                name='uncertain_policy',
                field=models.CharField(choices=[('hold', 'Leave it to me'), ('resend', 'Send again'), ('assume_sent', 'Count as sent')], default='hold', max_length=11),
            ),
            migrations.AddField(
                model_name='contact',
                name='device',
                field=accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, db_index=False, help_text='The number that this person knows: campaigns with sticky devices write from it.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='devices.device'),
            ),
        ]),
        tenancy.TenantReference("Contact", "device"),
        AtOnce([
            migrations.AddField(
                model_name='message',
                name='confirms_stop',
                field=models.BooleanField(db_default=False, default=False, help_text='The one answer to STOP: passes the suppression it confirms.'),
            ),
            migrations.AddField(
                model_name='message',
                name='deaths',
                field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text='Gateways that died with it.'),
            ),
            migrations.AddField(
                model_name='message',
                name='may_duplicate',
                field=models.BooleanField(db_default=False, default=False, help_text='Sent again although nobody knew whether it had arrived.'),
            ),
            migrations.AddField(
                model_name='stream',
                name='assumed',
                field=models.PositiveIntegerField(db_default=0, default=0),
            ),
            migrations.AddField(
                model_name='stream',
                name='expires_at',
                field=models.DateTimeField(blank=True, help_text='Nothing of it leaves from then on.', null=True),
            ),
            migrations.AddField(
                model_name='stream',
                name='spread',
                field=models.BooleanField(db_default=False, default=False, help_text="Its first send has its place within the device's longest delay."),
            ),
            migrations.AlterField(
                model_name='message',
                name='state',
                field=models.CharField(choices=[('pending', 'pending'), ('sending', 'sending'), ('waiting', 'waiting'), ('assumed', 'assumed'), ('sent', 'sent'), ('delivered', 'delivered'), ('read', 'read'), ('dead', 'dead'), ('uncertain', 'uncertain'), ('skipped', 'skipped'), ('expired', 'expired'), ('cancelled', 'cancelled')], default='pending', max_length=9),
            ),
            migrations.CreateModel(
                name='Suppression',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('phone', models.CharField(help_text='E.164.', max_length=16)),
                    ('source', models.CharField(choices=[('reply', 'Their reply'), ('person', 'A member of the workspace'), ('import', 'An import')], max_length=6)),
                    ('reason', models.CharField(blank=True, db_default='', default='', max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'constraints': [models.UniqueConstraint(fields=('workspace', 'phone'), name='one_suppression_per_phone')],
                },
            ),
            migrations.CreateModel(
                name='Uncertain',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('device_id', models.BigIntegerField()),
                    ('phone', models.CharField(max_length=16)),
                    ('tag', models.BinaryField()),
                    ('began_at', models.DateTimeField(help_text='When the attempt began: receipts before it speak of something else.')),
                    ('since', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('asked_at', models.DateTimeField(blank=True, help_text='When the session file was last searched.', null=True)),
                    ('message', accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='uncertain', to='campaigns.message')),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'indexes': [models.Index(fields=['device_id', 'phone'], name='doubts_by_person'), models.Index(fields=['since'], name='doubts_by_age')],
                    'constraints': [models.UniqueConstraint(fields=('message',), name='one_doubt_per_message')],
                },
            ),
        ]),
        tenancy.Wall("Suppression", "Uncertain"),
        migrations.RunSQL(KNOWN_SQL, migrations.RunSQL.noop),
    ]
