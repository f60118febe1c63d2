from django.db import migrations, models


from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0004_linking_and_vault'),
    ]

    operations = [
        AtOnce([
            migrations.AddField(
                model_name='device',
                name='held_until',
                field=models.DateTimeField(blank=True, help_text='Nothing leaves before: WhatsApp refused the number. Stays when it is over.', null=True),
            ),
            migrations.AddField(
                model_name='device',
                name='held_reason',
                field=models.CharField(blank=True, db_default='', default='', max_length=200),
            ),
            migrations.AddField(
                model_name='device',
                name='holds',
                field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text="In a row, without a day between one's end and the next."),
            ),
        ]),
    ]
