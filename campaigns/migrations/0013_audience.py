"""Segments, consent, templates, variants; hours, holds and changes of many contacts; undone and dry imports."""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models

import accounts.tenancy
from accounts import tenancy
from config.at_once import AtOnce

# A person who is erased loses number and name in it, and an import that is deleted its link; nothing else ever changes.
LEDGER_SQL = """
CREATE FUNCTION campaigns_consent_is_a_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.contact_id IS NULL OR NEW.contact_id = OLD.contact_id)
       AND (NEW.contact_import_id IS NULL OR NEW.contact_import_id = OLD.contact_import_id)
       AND (NEW.created_by_id IS NULL OR NEW.created_by_id = OLD.created_by_id)
       AND NEW.phone IN ('', OLD.phone)
       AND (NEW.workspace_id, NEW.kind, NEW.source, NEW.proof, NEW.at)
           IS NOT DISTINCT FROM (OLD.workspace_id, OLD.kind, OLD.source, OLD.proof, OLD.at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the consent ledger is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER consent_is_a_ledger AFTER UPDATE ON campaigns_consententry
    FOR EACH ROW EXECUTE FUNCTION campaigns_consent_is_a_ledger();
"""
UNDO_LEDGER_SQL = """
DROP TRIGGER consent_is_a_ledger ON campaigns_consententry;
DROP FUNCTION campaigns_consent_is_a_ledger();
"""

LAST_REPLY_SQL = """
UPDATE campaigns_contact c SET last_reply_at = r.at
FROM (SELECT contact_id, max(at) AS at FROM campaigns_reply WHERE contact_id IS NOT NULL GROUP BY contact_id) r
WHERE c.id = r.contact_id AND c.last_reply_at IS NULL
"""

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


# The ledger begins with what contacts and the list of suppressed numbers know, in the order in which it happened.
LEDGER_BEGINS_SQL = """
INSERT INTO campaigns_consententry
    (workspace_id, contact_id, phone, kind, source, proof, contact_import_id, created_by_id, at)
SELECT * FROM (
    SELECT c.workspace_id, c.id, c.phone, 'granted', c.consent_source, coalesce(i.consent_proof, ''),
           c.consent_import_id, i.created_by_id, c.consent_at AS at
    FROM campaigns_contact c LEFT JOIN campaigns_contactimport i ON i.id = c.consent_import_id
    UNION ALL
    SELECT u.workspace_id, c.id, u.phone, 'withdrawn',
           CASE u.source WHEN 'reply' THEN 'Their reply' WHEN 'import' THEN 'An import'
                         WHEN 'link' THEN 'Their opt-out link' ELSE 'A member of the workspace' END,
           u.reason, NULL, u.created_by_id, u.created_at
    FROM campaigns_suppression u
    LEFT JOIN campaigns_contact c ON c.workspace_id = u.workspace_id AND c.phone = u.phone
    UNION ALL
    SELECT c.workspace_id, c.id, c.phone, 'withdrawn', 'A member of the workspace', c.opted_out_reason, NULL, NULL,
           c.opted_out_at
    FROM campaigns_contact c
    WHERE c.opted_out_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM campaigns_suppression u WHERE u.workspace_id = c.workspace_id AND u.phone = c.phone)
) known
WHERE NOT EXISTS (SELECT FROM campaigns_consententry)
ORDER BY at
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_quiet_hours"),
        ("campaigns", "0012_media"),
        ("devices", "0005_holds"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AtOnce([
            migrations.CreateModel(
                name='CampaignSegment',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('excluded', models.BooleanField(db_default=False, default=False)),
                ],
            ),
            migrations.CreateModel(
                name='ConsentEntry',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('phone', models.CharField(blank=True, help_text='E.164; empty once the person is erased.', max_length=16)),
                    ('kind', models.CharField(choices=[('granted', 'Agreed'), ('withdrawn', 'Withdrew')], max_length=9)),
                    ('source', models.CharField(help_text='How they said so: a form, an import, their reply, a member.', max_length=200)),
                    ('proof', models.CharField(blank=True, db_default='', default='', max_length=300)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'verbose_name_plural': 'consent entries',
                },
            ),
            migrations.CreateModel(
                name='CustomField',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('name', models.CharField(max_length=60)),
                    ('kind', models.CharField(choices=[('text', 'Text'), ('number', 'Number'), ('date', 'Date'), ('boolean', 'Yes or no')], default='text', max_length=7)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['name'],
                },
            ),
            migrations.CreateModel(
                name='Erasure',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('digest', models.CharField(help_text='HMAC-SHA256 of the E.164 number, in hex.', max_length=64)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
            ),
            migrations.CreateModel(
                name='GlobalSuppression',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('phone', models.CharField(help_text='E.164.', max_length=16, unique=True)),
                    ('reason', models.CharField(max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
            ),
            migrations.CreateModel(
                name='Segment',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                    ('name', models.CharField(max_length=80)),
                    ('conditions', models.JSONField(default=dict, help_text='{"match": "all" or "any", "rules": [{"what": …, "is": …, "value": …}]}; see campaigns/segments.py.')),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['name'],
                },
            ),
            migrations.CreateModel(
                name='Template',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                    ('name', models.CharField(max_length=80)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('archived_at', models.DateTimeField(blank=True, null=True)),
                ],
                options={
                    'ordering': ['name'],
                },
            ),
            migrations.CreateModel(
                name='Variant',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('number', models.PositiveSmallIntegerField(help_text='1 is shown as A.')),
                    ('share', models.PositiveSmallIntegerField(help_text='Percent of the people who are not held out; all add up to 100.')),
                ],
            ),
            migrations.RemoveConstraint(
                model_name='stream',
                name='one_stream_per_campaign_device',
            ),
            migrations.AddField(
                model_name='campaign',
                name='archived_at',
                field=models.DateTimeField(blank=True, null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='canary',
                field=models.PositiveIntegerField(blank=True, help_text='So many people first; the others once somebody has looked and says so.', null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='canary_passed_at',
                field=models.DateTimeField(blank=True, null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='hold_out',
                field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text='Percent of the audience that get nothing, to compare with.'),
            ),
            migrations.AddField(
                model_name='campaign',
                name='local_from',
                field=models.TimeField(blank=True, help_text="It leaves only between these hours of each person's own clock.", null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='local_to',
                field=models.TimeField(blank=True, null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='not_contacted_days',
                field=models.PositiveSmallIntegerField(blank=True, help_text='Whoever got a message within so many days is left out when planned.', null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='paused_why',
                field=models.CharField(blank=True, db_default='', default='', help_text='Why it paused itself; empty when a person did.', max_length=200),
            ),
            migrations.AddField(
                model_name='campaign',
                name='retarget',
                field=models.CharField(blank=True, choices=[('not_read', 'Got it, but have not read it'), ('not_replied', 'Got it, but have not replied'), ('replied', 'Replied'), ('failed', 'It failed')], db_default='', default='', max_length=11),
            ),
            migrations.AddField(
                model_name='campaign',
                name='retarget_of',
                field=accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, help_text="The audience is this campaign's recipients, as `retarget` says; tags and segments narrow it.", null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='campaigns.campaign'),
            ),
            migrations.AddField(
                model_name='campaign',
                name='stagger_s',
                field=models.PositiveIntegerField(db_default=0, default=0, help_text='Seconds: each device begins so much later than the one before it.'),
            ),
            migrations.AddField(
                model_name='campaign',
                name='stop_failures',
                field=models.PositiveSmallIntegerField(blank=True, help_text='It pauses itself when more than this percent of what was tried failed.', null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='stop_opt_outs',
                field=models.PositiveSmallIntegerField(blank=True, help_text='It pauses itself when more than this percent of the people written to opted out.', null=True),
            ),
            migrations.AddField(
                model_name='campaigntag',
                name='excluded',
                field=models.BooleanField(db_default=False, default=False),
            ),
            migrations.AddField(
                model_name='contact',
                name='last_reply_at',
                field=models.DateTimeField(blank=True, null=True),
            ),
            migrations.AddField(
                model_name='contact',
                name='paused_until',
                field=models.DateTimeField(blank=True, help_text='They asked for silence until then.', null=True),
            ),
            migrations.AddField(
                model_name='contact',
                name='timezone',
                field=models.CharField(blank=True, db_default='', default='', help_text="Empty: not known, the workspace's zone.", max_length=64),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='dry_run',
                field=models.BooleanField(db_default=False, default=False, help_text='Counts and rejects only; saves nobody.'),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='policy',
                field=models.CharField(choices=[('fill', 'Fill what is empty'), ('overwrite', 'Overwrite'), ('skip', 'Leave as they are')], db_default='overwrite', default='overwrite', help_text='What happens to people who are contacts already.', max_length=9),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='sheet',
                field=models.CharField(blank=True, db_default='', default='', help_text='Of a workbook.', max_length=100),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='undone_at',
                field=models.DateTimeField(blank=True, null=True),
            ),
            migrations.AddField(
                model_name='media',
                name='kept_at',
                field=models.DateTimeField(blank=True, help_text='When somebody put it into the library: there it stays, used or not.', null=True),
            ),
            migrations.AddField(
                model_name='stream',
                name='variant',
                field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text="Number of the campaign's variant; 0: the campaign's own content."),
            ),
            migrations.AddField(
                model_name='suppression',
                name='created_by',
                field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.AlterField(
                model_name='suppression',
                name='source',
                field=models.CharField(choices=[('reply', 'Their reply'), ('person', 'A member of the workspace'), ('import', 'An import'), ('link', 'Their opt-out link')], max_length=6),
            ),
            migrations.AddIndex(
                model_name='suppression',
                index=models.Index(fields=['workspace', '-id'], name='suppressions_of_workspace'),
            ),
            migrations.AddConstraint(
                model_name='stream',
                constraint=models.UniqueConstraint(fields=('campaign', 'device', 'variant'), name='one_stream_per_campaign_device'),
            ),
            migrations.AddField(
                model_name='campaignsegment',
                name='campaign',
                field=accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='segment_links', to='campaigns.campaign'),
            ),
            migrations.AddField(
                model_name='campaignsegment',
                name='workspace',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AddField(
                model_name='consententry',
                name='contact',
                field=accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='consents', to='campaigns.contact'),
            ),
            migrations.AddField(
                model_name='consententry',
                name='contact_import',
                field=accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='campaigns.contactimport'),
            ),
            migrations.AddField(
                model_name='consententry',
                name='created_by',
                field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.AddField(
                model_name='consententry',
                name='workspace',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AddField(
                model_name='customfield',
                name='workspace',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AddField(
                model_name='erasure',
                name='created_by',
                field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.AddField(
                model_name='erasure',
                name='workspace',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AddField(
                model_name='globalsuppression',
                name='created_by',
                field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.AddField(
                model_name='segment',
                name='created_by',
                field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.AddField(
                model_name='segment',
                name='workspace',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AddField(
                model_name='campaignsegment',
                name='segment',
                field=accounts.tenancy.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.RESTRICT, related_name='campaign_links', to='campaigns.segment'),
            ),
            migrations.AddField(
                model_name='template',
                name='content',
                field=accounts.tenancy.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.RESTRICT, related_name='+', to='campaigns.content'),
            ),
            migrations.AddField(
                model_name='template',
                name='created_by',
                field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.AddField(
                model_name='template',
                name='workspace',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AddField(
                model_name='variant',
                name='campaign',
                field=accounts.tenancy.TenantForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='variants', to='campaigns.campaign'),
            ),
            migrations.AddField(
                model_name='variant',
                name='content',
                field=accounts.tenancy.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.RESTRICT, related_name='+', to='campaigns.content'),
            ),
            migrations.AddField(
                model_name='variant',
                name='workspace',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AddIndex(
                model_name='consententry',
                index=models.Index(fields=['contact', '-id'], name='consents_of_contact'),
            ),
            migrations.AddIndex(
                model_name='consententry',
                index=models.Index(fields=['workspace', '-id'], name='consents_of_workspace'),
            ),
            migrations.AddConstraint(
                model_name='customfield',
                constraint=models.UniqueConstraint(fields=('workspace', 'name'), name='one_custom_field_per_name'),
            ),
            migrations.AddConstraint(
                model_name='erasure',
                constraint=models.UniqueConstraint(fields=('workspace', 'digest'), name='one_erasure_per_number'),
            ),
            migrations.AddConstraint(
                model_name='segment',
                constraint=models.UniqueConstraint(fields=('workspace', 'name'), name='one_segment_per_name'),
            ),
            migrations.AddConstraint(
                model_name='campaignsegment',
                constraint=models.UniqueConstraint(fields=('campaign', 'segment'), name='one_segment_per_campaign'),
            ),
            migrations.AddConstraint(
                model_name='template',
                constraint=models.UniqueConstraint(fields=('workspace', 'name'), name='one_template_per_name'),
            ),
            migrations.AddConstraint(
                model_name='variant',
                constraint=models.UniqueConstraint(fields=('campaign', 'number'), name='one_variant_per_number'),
            ),
            migrations.CreateModel(
                name='ContactChange',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                    ('deed', models.CharField(choices=[('tag', 'Add a tag'), ('untag', 'Take a tag off'), ('field', 'Set a field'), ('status', 'Set the status'), ('device', 'Set the number they know'), ('delete', 'Delete')], max_length=6)),
                    ('name', models.CharField(blank=True, default='', help_text='Of the tag or the field.', max_length=60)),
                    ('value', models.CharField(blank=True, default='', help_text='Of the field, status or device.', max_length=1000)),
                    ('selection', models.JSONField(help_text='{"uuids": […]} or {"query": the filters of the list, as in its address}.')),
                    ('up_to', models.PositiveBigIntegerField(help_text='Contacts up to this id take part.')),
                    ('expected', models.PositiveIntegerField(help_text='People who were meant when somebody asked.')),
                    ('people', models.PositiveIntegerField(default=0, help_text='Gone through so far.')),
                    ('changed', models.PositiveIntegerField(default=0, help_text='Of them, those who were not so already.')),
                    ('error', models.CharField(blank=True, default='', max_length=200)),
                    ('last_phone', models.CharField(blank=True, default='', help_text='The last number gone through.', max_length=16)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('heartbeat_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('finished_at', models.DateTimeField(blank=True, null=True)),
                ],
            ),
            migrations.AddIndex(
                model_name='contact',
                index=models.Index(condition=models.Q(('last_reply_at__isnull', False)), fields=['workspace', 'last_reply_at'], name='contacts_by_last_reply'),
            ),
            migrations.AddField(
                model_name='contactchange',
                name='created_by',
                field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.AddField(
                model_name='contactchange',
                name='workspace',
                field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AddIndex(
                model_name='contactchange',
                index=models.Index(condition=models.Q(('finished_at__isnull', True)), fields=['heartbeat_at'], name='open_changes'),
            ),
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
            # In the order of the list, where the index of the key alone would be passed over for the order.
            migrations.AlterField(
                model_name='contact',
                name='consent_import',
                field=accounts.tenancy.TenantForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='campaigns.contactimport'),
            ),
            migrations.AddIndex(
                model_name='contact',
                index=models.Index(fields=['consent_import', '-id'], name='contacts_of_import'),
            ),
            migrations.AddIndex(
                model_name='contact',
                index=models.Index(condition=models.Q(('timezone', ''), _negated=True), fields=['workspace', 'timezone'], name='contacts_by_zone'),
            ),
            migrations.AddField(
                model_name="suppression",
                name="uuid",
                field=models.UUIDField(db_default=RandomUUID(), editable=False, unique=True),
            ),
            migrations.AddIndex(
                model_name="consententry",
                index=models.Index(
                    fields=["workspace", "-id"],
                    condition=models.Q(kind="withdrawn"),
                    name="withdrawals_of_workspace",
                ),
            ),
            migrations.AddIndex(
                model_name="consententry",
                index=models.Index(
                    fields=["workspace", "phone"],
                    condition=models.Q(contact__isnull=True),
                    name="consents_of_strangers",
                ),
            ),
            migrations.AddIndex(
                model_name="suppression",
                index=models.Index(fields=["workspace", "source", "-id"], name="suppressions_by_source"),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='kept_out',
                field=models.PositiveBigIntegerField(db_default=0, default=0, help_text='People of the file who had opted out, and stay so.'),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='undo_asked_at',
                field=models.DateTimeField(blank=True, null=True),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='undo_kept',
                field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict, help_text='Why a new contact stayed → how many.'),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='undone',
                field=models.PositiveBigIntegerField(db_default=0, default=0, help_text='New contacts that were removed again.'),
            ),
            migrations.AddField(
                model_name='contactimport',
                name='undone_up_to',
                field=models.PositiveBigIntegerField(db_default=0, default=0, help_text='The last contact looked at.'),
            ),
            migrations.AddField(
                model_name='importrow',
                name='status',
                field=models.CharField(blank=True, db_default='', default='', max_length=8),
            ),
            migrations.AddField(
                model_name='importrow',
                name='timezone',
                field=models.CharField(blank=True, db_default='', default='', max_length=64),
            ),
            migrations.AlterField(
                model_name='contacttag',
                name='workspace',
                field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AlterField(
                model_name='importrow',
                name='workspace',
                field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace'),
            ),
            migrations.AlterField(
                model_name='contactimport',
                name='mapping',
                field=models.JSONField(blank=True, default=dict, help_text='header: whether there is one; names of the columns; columns: [role, field]; kinds of typed fields; sheets of a workbook while nobody chose one.'),
            ),
            migrations.AlterField(
                model_name='contactimport',
                name='state',
                field=models.CharField(choices=[('opening', 'Workbook being opened'), ('uploaded', 'Waiting for its columns'), ('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('stopped', 'Stopped')], default='uploaded', max_length=8),
            ),
            migrations.AddField(
                model_name='media',
                name='dropped_at',
                field=models.DateTimeField(blank=True, help_text='When its bytes were let go. The row says what old messages carried.', null=True),
            ),
            migrations.AddField(
                model_name='media',
                name='seconds',
                field=models.PositiveIntegerField(blank=True, help_text='Of video and audio, where it is known.', null=True),
            ),
            migrations.AddField(
                model_name='media',
                name='thumbnail',
                field=models.BinaryField(blank=True, help_text='A small JPEG of an image, made when first shown.', null=True),
            ),
            migrations.AddIndex(
                model_name='media',
                index=models.Index(fields=['workspace', '-id'], name='media_of_workspace'),
            ),
            migrations.AddIndex(
                model_name="message",
                index=models.Index(
                    condition=models.Q(("reason", ""), _negated=True),
                    fields=["campaign", "reason", "contact"],
                    name="messages_with_reason",
                ),
            ),
            migrations.AddIndex(
                model_name="message",
                index=models.Index(
                    condition=models.Q(("replied_at__isnull", False)),
                    fields=["campaign", "contact"],
                    name="answered_messages",
                ),
            ),
            migrations.AddIndex(
                model_name="message",
                index=models.Index(
                    condition=models.Q(("phone", "")),
                    fields=["stream"],
                    name="messages_of_erased",
                ),
            ),
            migrations.AddField(
                model_name='campaign',
                name='edited_at',
                field=models.DateTimeField(blank=True, null=True),
            ),
            migrations.AddField(
                model_name='campaign',
                name='edited_by',
                field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.AddField(
                model_name='campaign',
                name='others_version',
                field=models.PositiveIntegerField(db_default=0, default=0, help_text='The last version that was not yet the work of `edited_by`.'),
            ),
            migrations.AddField(
                model_name='campaign',
                name='steps_done',
                field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text='How far somebody has come in writing it: steps of `campaigns/steps.py`.'),
            ),
            migrations.AddField(
                model_name='campaign',
                name='version',
                field=models.PositiveIntegerField(db_default=0, default=0, help_text='Counts the edits of a draft.'),
            ),
        ]),
        tenancy.TenantReference("Campaign", "retarget_of"),
        tenancy.Wall("CampaignSegment", "CustomField", "Segment", "Template", "Variant"),
        tenancy.Wall("Erasure", grant="SELECT, INSERT"),
        tenancy.Wall("ConsentEntry", grant="SELECT, INSERT, UPDATE (contact_id, contact_import_id, phone)"),
        migrations.RunSQL(tenancy.grant_sql("campaigns_globalsuppression", "SELECT"), migrations.RunSQL.noop),
        migrations.RunSQL(LEDGER_SQL, UNDO_LEDGER_SQL),
        tenancy.Wall('ContactChange'),
        migrations.RunSQL(LOCAL_SQL + MAY_WRITE_SQL + NOBODY_SQL, UNDO_SQL),
        migrations.RunSQL(LAST_REPLY_SQL, migrations.RunSQL.noop),
        migrations.RunSQL(LEDGER_BEGINS_SQL, migrations.RunSQL.noop),
    ]
