from django.db import migrations, models


from config.at_once import AtOnce


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_workspace_weight'),
        ('devices', '0001_devices_and_hosts'),
    ]

    operations = [
        AtOnce([
            migrations.AddField(
                model_name='device',
                name='sending_from',
                field=models.TimeField(blank=True, help_text="In the workspace's time zone; empty: always.", null=True),
            ),
            migrations.AddField(
                model_name='device',
                name='sending_to',
                field=models.TimeField(blank=True, help_text='May lie past midnight.', null=True),
            ),
            migrations.AddField(
                model_name='device',
                name='warm_cap',
                field=models.PositiveIntegerField(blank=True, help_text="Today's cap while the number warms up; empty: it does not.", null=True),
            ),
            migrations.AddField(
                model_name='device',
                name='warm_day',
                field=models.DateField(blank=True, help_text='The day of the workspace that the cap was set for.', null=True),
            ),
            migrations.AddField(
                model_name='device',
                name='warm_replies',
                field=models.PositiveIntegerField(default=0, help_text='Replies since then.'),
            ),
            migrations.AddField(
                model_name='host',
                name='meters',
                field=models.JSONField(default=dict, help_text='What it said of itself at its last heartbeat.'),
            ),
            migrations.AddConstraint(
                model_name='device',
                constraint=models.CheckConstraint(condition=models.Q(models.Q(('sending_from__isnull', True), ('sending_to__isnull', True)), models.Q(('sending_from__isnull', False), ('sending_to__isnull', False), models.Q(('sending_from', models.F('sending_to')), _negated=True)), _connector='OR'), name='sending_hours_have_both_ends', violation_error_message='Sending hours need a beginning and an end that differ.'),
            ),
        ]),
    ]
