"""A workspace that a composite key proves is not looked up once more; two indexes in the order in which they grow."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from config.at_once import AtOnce

# The workspace where no composite key that is sure to stay proves it; null, and not looked up, for all that an import
# brings. No index: it is asked only when a whole workspace is deleted.
UNPROVED_SQL = """
ALTER TABLE campaigns_contact ADD COLUMN unproved_workspace_id bigint
    GENERATED ALWAYS AS (CASE WHEN consent_import_id IS NULL THEN workspace_id END) STORED
    CONSTRAINT campaigns_contact_unproved_workspace_fk REFERENCES accounts_workspace DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE campaigns_consententry ADD COLUMN unproved_workspace_id bigint
    GENERATED ALWAYS AS (
        CASE WHEN contact_id IS NULL AND contact_import_id IS NULL THEN workspace_id END
    ) STORED
    CONSTRAINT campaigns_consententry_unproved_workspace_fk REFERENCES accounts_workspace
    DEFERRABLE INITIALLY DEFERRED;
"""
UNDO_SQL = """
ALTER TABLE campaigns_contact DROP COLUMN unproved_workspace_id;
ALTER TABLE campaigns_consententry DROP COLUMN unproved_workspace_id;
"""


def workspace() -> models.ForeignKey:
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.CASCADE,
        related_name="+",
        to="accounts.workspace",
    )


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0017_recipients")]

    operations = [
        migrations.RunSQL(UNPROVED_SQL, UNDO_SQL),
        AtOnce([
            migrations.AlterField(model_name="contact", name="workspace", field=workspace()),
            migrations.AlterField(model_name="consententry", name="workspace", field=workspace()),
            migrations.AlterField(
                model_name="consententry",
                name="created_by",
                field=models.ForeignKey(
                    blank=True,
                    help_text="Empty where the import says who brought it, and for whoever did it themselves.",
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            migrations.RemoveIndex(model_name="contact", name="contacts_of_import"),
            migrations.RemoveIndex(model_name="consententry", name="consents_of_workspace"),
        ]),
        AtOnce([
            migrations.AddIndex(
                model_name="contact",
                index=models.Index(fields=["consent_import", "id"], name="contacts_of_import"),
            ),
            migrations.AddIndex(
                model_name="consententry",
                index=models.Index(fields=["workspace", "id"], name="consents_of_workspace"),
            ),
        ]),
    ]
