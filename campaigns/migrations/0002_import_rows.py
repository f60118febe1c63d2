import accounts.tenancy
import django.db.models.deletion
from django.db import migrations, models

from accounts import tenancy


from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_users_and_workspaces'),
        ('campaigns', '0001_contacts_campaigns_and_messages'),
    ]

    operations = [
        AtOnce([
            migrations.AddField(
                model_name='contactimport',
                name='contacts',
                field=models.PositiveBigIntegerField(default=0, help_text='Different numbers among the accepted rows.'),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='lines_done',
                field=models.PositiveBigIntegerField(default=0),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='read_at',
                field=models.DateTimeField(blank=True, null=True),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='saved_up_to',
                field=models.CharField(blank=True, help_text='The last number that was saved.', max_length=16),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='tries',
                field=models.PositiveSmallIntegerField(default=0, help_text='Starts since the last step forward.'),
            ),
            migrations.AlterField(
                model_name='contactimport',
                name='mapping',
                field=models.JSONField(blank=True, default=dict, help_text='header: whether there is one; names of the columns; columns: [role, field].'),
            ),
            migrations.AlterField(
                model_name='contactimport',
                name='state',
                field=models.CharField(choices=[('uploaded', 'Waiting for its columns'), ('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('stopped', 'Stopped')], default='uploaded', max_length=8),
            ),
            migrations.CreateModel(
                name='ImportRow',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('phone', models.CharField(max_length=16)),
                    ('name', models.CharField(max_length=200)),
                    ('fields', models.JSONField(default=dict)),
                    ('tags', models.TextField()),
                    ('contact_import', accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='rows', to='campaigns.contactimport')),
                    ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
                ],
                options={
                    'constraints': [models.UniqueConstraint(fields=('contact_import', 'phone'), name='one_import_row_per_phone')],
                },
            ),
        ]),
        tenancy.Wall("ImportRow"),
    ]
