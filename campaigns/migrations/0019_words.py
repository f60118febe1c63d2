"""Texts of help say "replied", as the product does; nothing in the database changes."""

from django.db import migrations, models

from config.at_once import AtOnce


def replied() -> models.PositiveIntegerField:
    return models.PositiveIntegerField(default=0, help_text="Messages that were replied to.")


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0018_proved_workspaces")]

    operations = [
        AtOnce(
            [
                *[
                    migrations.AlterField(model_name=meter, name="replied", field=replied())
                    for meter in ("minutemeter", "hourmeter", "daymeter")
                ],
                migrations.AlterField(
                    model_name="stream",
                    name="replied",
                    field=models.PositiveIntegerField(default=0, help_text="People who replied; not a state."),
                ),
            ]
        )
    ]
