import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import accounts.tenancy
from accounts import tenancy


# Pictures and videos are packed already; and of what is not packed PostgreSQL reads a piece without the rest.
UNPACKED_SQL = "ALTER TABLE campaigns_media ALTER COLUMN data SET STORAGE EXTERNAL"


from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_workspace_weight'),
        ('campaigns', '0011_number_checks'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Media',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('kind', models.CharField(choices=[('image', 'Image'), ('video', 'Video'), ('audio', 'Audio'), ('document', 'Document')], max_length=8)),
                ('mime', models.CharField(max_length=100)),
                ('name', models.CharField(help_text='As the recipient of a document sees it.', max_length=100)),
                ('size', models.PositiveIntegerField(help_text='Bytes.')),
                ('sha256', models.CharField(help_text='Of the bytes, in hex.', max_length=64)),
                ('width', models.PositiveIntegerField(blank=True, help_text='Pixels of an image.', null=True)),
                ('height', models.PositiveIntegerField(blank=True, null=True)),
                ('data', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('chosen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When it was last uploaded or put into a message; unused a day later it is deleted.')),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'verbose_name_plural': 'media',
                'base_manager_name': 'objects',
                'indexes': [models.Index(fields=['chosen_at'], name='media_by_age')],
                'constraints': [models.UniqueConstraint(fields=('workspace', 'sha256', 'name'), name='one_row_per_media')],
            },
        ),
        migrations.RunSQL(UNPACKED_SQL, migrations.RunSQL.noop),
        tenancy.Wall("Media"),
        AtOnce([
            migrations.AlterField(
                model_name='content',
                name='text',
                field=models.TextField(blank=True, help_text='Beside a file: its caption, which may be empty.'),
            ),
            migrations.AddField(
                model_name='content',
                name='media',
                field=accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='contents', to='campaigns.media'),
            ),
        ]),
        tenancy.TenantReference("Content", "media"),
    ]
