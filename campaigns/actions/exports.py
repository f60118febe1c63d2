"""Taking contacts out as a file; who took how many stays in the audit."""

from __future__ import annotations

from django.db.models import Func
from django.db.models.fields import TextField

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.contact_files import ContactFile
from campaigns.contact_filters import Filters


def export_contacts(workspace: Workspace, by: User, filters: Filters) -> ContactFile:
    """Everybody the filters let pass, with every custom field any of them has."""
    people = filters.contacts().order_by()
    keys = people.annotate(key=Func("fields", function="jsonb_object_keys", output_field=TextField()))
    names = sorted(keys.values_list("key", flat=True).distinct(), key=str.lower)
    record(workspace, by, "contacts.exported", people=people.count(), filters=sorted(filters.asked))
    return ContactFile(workspace, people, names)
