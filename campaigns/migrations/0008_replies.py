import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import accounts.tenancy
from accounts import tenancy


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_workspace_weight'),
        ('campaigns', '0007_pages_say_gap'),
        ('devices', '0004_linking_and_vault'),
    ]

    operations = [
        migrations.CreateModel(
            name='Reply',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('phone', models.CharField(blank=True, help_text='E.164; empty where WhatsApp does not tell it.', max_length=16)),
                ('chat', models.CharField(help_text="WhatsApp's name of the chat.", max_length=64)),
                ('wire_id', models.CharField(help_text="WhatsApp's id of the message.", max_length=64)),
                ('kind', models.CharField(choices=[('text', 'Text'), ('image', 'Picture'), ('video', 'Video'), ('audio', 'Voice message'), ('document', 'Document'), ('sticker', 'Sticker'), ('location', 'Location'), ('contact', 'Contact card'), ('reaction', 'Reaction'), ('other', 'Something else')], default='text', max_length=8)),
                ('text', models.CharField(blank=True, max_length=4096)),
                ('at', models.DateTimeField(help_text='When it was written, as WhatsApp says.')),
                ('heard_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('contact', accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='replies', to='campaigns.contact')),
                ('device', accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='devices.device')),
                ('message', accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, help_text='What it answers: the one it quotes, else the last one sent to this person from this device.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='replies', to='campaigns.message')),
                ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'verbose_name_plural': 'replies',
                'indexes': [models.Index(fields=['contact', '-id'], name='replies_of_contact'), models.Index(fields=['workspace', '-id'], name='replies_of_workspace')],
                'constraints': [models.UniqueConstraint(fields=('device', 'wire_id'), name='one_reply_per_wire_id')],
            },
        ),
        tenancy.Wall('Reply'),
    ]
