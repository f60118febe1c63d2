from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_users_and_workspaces'),
        ('campaigns', '0002_import_rows'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='contact',
            index=models.Index(condition=models.Q(('opted_out_at__isnull', False)), fields=['workspace', '-id'], name='opted_out_contacts'),
        ),
    ]
