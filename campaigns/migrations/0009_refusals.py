from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('campaigns', '0008_replies'),
        ('devices', '0005_holds'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='refusals',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text="Holds of a device that WhatsApp's answer to it began."),
        ),
    ]
