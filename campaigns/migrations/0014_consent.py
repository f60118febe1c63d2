from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models

# The ledger begins with what contacts and the list of suppressed numbers know, in the order in which it happened.
BACKFILL_SQL = """
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
        ("campaigns", "0014_content"),
    ]

    operations = [
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
        migrations.RunSQL(BACKFILL_SQL, migrations.RunSQL.noop),
    ]
