"""Contacts as a CSV file that a spreadsheet opens and an import reads again, made part by part."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from django.utils import timezone

from accounts.models import Workspace
from accounts.tenancy import tenant_scope
from campaigns.imports.neutral import neutral
from campaigns.models import Contact
from campaigns.querysets.contacts import ContactQuerySet

PART = 2_000  # people
BOM = b"\xef\xbb\xbf"  # else Excel takes UTF-8 for something else
COLUMNS = (
    "Phone",
    "Name",
    "Tags",
    "Status",
    "Opted out",
    "How they agreed",
    "Agreed at",
    "Number they know",
    "Time zone",
    "Replied at",  # "Last reply" would be taken for a last name when it comes back
    "Added",
)


class ContactFile:
    """Read until nothing comes. Every part is a look of its own: whoever is added meanwhile comes last, or not."""

    def __init__(self, workspace: Workspace, people: ContactQuerySet, fields: Sequence[str]) -> None:
        self.workspace = workspace
        self.people = people.order_by("pk").select_related("device").prefetch_related("tag_links__tag")
        self.fields = fields
        self.last: int | None = None

    def read(self) -> bytes:
        """The next rows; empty at the end."""
        text = io.StringIO(newline="")
        out = csv.writer(text)
        begin = b""
        if self.last is None:
            out.writerow(map(neutral, (*COLUMNS, *self.fields)))
            self.last, begin = 0, BOM
        elif self.last < 0:
            return b""
        with tenant_scope(self.workspace), timezone.override(self.workspace.zone):
            part = list(self.people.filter(pk__gt=self.last)[:PART])
            for contact in part:
                out.writerow(map(neutral, self._row(contact)))
        self.last = part[-1].pk if len(part) == PART else -1
        return begin + text.getvalue().encode()

    def _row(self, contact: Contact) -> list[str]:
        values = (contact.fields.get(name) for name in self.fields)
        return [
            contact.phone,
            contact.name,
            "; ".join(link.tag.name for link in contact.tag_links.all()),
            contact.get_status_display(),
            _at(contact.opted_out_at),
            contact.consent_source,
            _at(contact.consent_at),
            contact.device.name if contact.device else "",
            contact.timezone,
            _at(contact.last_reply_at),
            _at(contact.created_at),
            *("" if value is None else str(value) for value in values),
        ]


def _at(at: object) -> str:
    """On the workspace's clock, as spreadsheets read it."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}" if at else ""  # type: ignore[arg-type]
