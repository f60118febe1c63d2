from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('campaigns', '0004_sending_engine'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='dead_at',
            field=models.DateTimeField(blank=True, help_text='When it was given up, the last time.', null=True),
        ),
    ]
