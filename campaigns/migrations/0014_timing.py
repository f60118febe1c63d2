from django.db import migrations, models

# A zone that PostgreSQL does not know would fail the claim of every device asked with it.
LOCAL_SQL = """
CREATE FUNCTION campaigns_known_zone(zone text, otherwise text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF zone = '' THEN
        RETURN otherwise;
    END IF;
    PERFORM now() AT TIME ZONE zone;
    RETURN zone;
EXCEPTION WHEN OTHERS THEN
    RETURN otherwise;
END $$;
"""

# The next instant, not before `at`, that lies outside the quiet hours and inside the campaign's, both by the clock of
# this zone; null when `at` itself does. The hours may pass midnight; where the two never meet, some days from now.
MAY_WRITE_SQL = """
CREATE FUNCTION campaigns_may_write_at(
    at timestamptz, zone text, quiet_from time, quiet_to time, local_from time, local_to time
) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    candidate timestamptz := at;
    clock time;
    opens time;
BEGIN
    FOR turn IN 1..6 LOOP
        clock := (candidate AT TIME ZONE zone)::time;
        opens := CASE
            WHEN ((clock >= quiet_from) = (clock < quiet_to)) = (quiet_from < quiet_to) THEN quiet_to
            WHEN ((clock >= local_from) = (clock >= local_to)) = (local_from < local_to) THEN local_from
        END;
        EXIT WHEN opens IS NULL;
        candidate := ((candidate AT TIME ZONE zone)::date + opens
                      + CASE WHEN clock < opens THEN interval '0' ELSE interval '1 day' END) AT TIME ZONE zone;
    END LOOP;
    RETURN nullif(candidate, at);
END $$;
"""

# When the first of all zones that people of a workspace have opens; null when one is open now, or there are so many
# that looking at them all would take longer than moving single messages.
NOBODY_SQL = """
CREATE FUNCTION campaigns_nobody_until(
    at timestamptz, workspace bigint, zone text, quiet_from time, quiet_to time, local_from time, local_to time
) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    earliest timestamptz := campaigns_may_write_at(at, zone, quiet_from, quiet_to, local_from, local_to);
    other text := '';
    opens timestamptz;
BEGIN
    FOR turn IN 1..60 LOOP
        IF earliest IS NULL THEN
            RETURN NULL;
        END IF;
        SELECT min(timezone) INTO other FROM campaigns_contact
        WHERE workspace_id = workspace AND timezone <> '' AND timezone > other;
        IF other IS NULL THEN
            RETURN earliest;
        END IF;
        opens := campaigns_may_write_at(
            at, campaigns_known_zone(other, zone), quiet_from, quiet_to, local_from, local_to);
        earliest := CASE WHEN opens IS NULL THEN NULL ELSE least(earliest, opens) END;
    END LOOP;
    RETURN NULL;
END $$;
"""

UNDO_SQL = """
DROP FUNCTION campaigns_nobody_until(timestamptz, bigint, text, time, time, time, time);
DROP FUNCTION campaigns_may_write_at(timestamptz, text, time, time, time, time);
DROP FUNCTION campaigns_known_zone(text, text);
"""


def counter(help_text=""):
    return models.PositiveIntegerField(db_default=0, default=0, help_text=help_text)


class Migration(migrations.Migration):

    dependencies = [
        ('campaigns', '0013_audience'),
    ]

    operations = [
        migrations.AddField(
            model_name='campaign',
            name='awaiting_word',
            field=counter('So many people wait until somebody has looked at the first few.'),
        ),
        migrations.AddField(model_name='campaign', name='resumed_tried', field=counter()),
        migrations.AddField(model_name='campaign', name='resumed_failed', field=counter()),
        migrations.AddField(model_name='campaign', name='resumed_sent', field=counter()),
        migrations.AddField(model_name='campaign', name='resumed_opted_out', field=counter()),
        migrations.AddField(
            model_name='stream',
            name='held_until',
            field=models.DateTimeField(blank=True, help_text='Until then it is outside the hours for writing to any of its people.', null=True),
        ),
        migrations.AddField(
            model_name='contact',
            name='claimed_at',
            field=models.DateTimeField(blank=True, help_text='When a message to them last began to leave, where a frequency cap is set.', null=True),
        ),
        migrations.AddIndex(
            model_name='contact',
            index=models.Index(condition=models.Q(('timezone', ''), _negated=True), fields=['workspace', 'timezone'], name='contacts_by_zone'),
        ),
        migrations.RunSQL(LOCAL_SQL + MAY_WRITE_SQL + NOBODY_SQL, UNDO_SQL),
    ]
