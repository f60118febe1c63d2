import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_users_and_workspaces'),
    ]

    operations = [
        migrations.AddField(
            model_name='workspace',
            name='weight',
            field=models.PositiveSmallIntegerField(default=1, help_text='Turns at sending it gets for each turn of a workspace with 1, where many wait.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)]),
        ),
    ]
