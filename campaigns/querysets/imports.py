"""The statements of an import: rows gathered by number, then saved as contacts, tags and links, a chunk at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection

from campaigns.imports.mapping import Person
from campaigns.models import ContactImport

# A later row has the last word on every column it fills; what it leaves empty stays.
GATHER_SQL = r"""
INSERT INTO campaigns_importrow AS kept (workspace_id, contact_import_id, phone, name, fields, tags)
SELECT %(workspace)s, %(import)s, phone, name, fields, tags
FROM json_to_recordset(%(people)s::json) AS person(phone text, name text, fields jsonb, tags text)
ON CONFLICT (contact_import_id, phone) DO UPDATE SET
    name = COALESCE(NULLIF(EXCLUDED.name, ''), kept.name),
    fields = kept.fields || EXCLUDED.fields,
    tags = (SELECT COALESCE(string_agg(DISTINCT tag, E'\n'), '')
            FROM unnest(string_to_array(kept.tags || E'\n' || EXCLUDED.tags, E'\n')) AS tag WHERE tag <> '')
RETURNING (xmax = 0)
"""

REJECT_SQL = """
INSERT INTO campaigns_importreject (workspace_id, contact_import_id, row, line, reason, cells)
SELECT %(workspace)s, %(import)s, row, line, reason, cells
FROM json_to_recordset(%(rejected)s::json) AS rejected(row bigint, line bigint, reason text, cells jsonb)
"""

# While tables grow from nothing the planner has no statistics of them, takes them for small and compares each row with
# all of theirs: seconds a chunk. So each is looked up by itself in a subquery, which OFFSET 0 keeps out of any join.
PLAN_SQL = "SET LOCAL enable_seqscan = off"

CHUNK_SQL = """
SELECT count(*), max(phone) FROM (
    SELECT phone FROM campaigns_importrow
    WHERE contact_import_id = %(import)s AND phone > %(after)s ORDER BY phone LIMIT %(size)s
) next
"""

# Rows that would change nothing are left out before the INSERT: ON CONFLICT alone would lock and rewrite headers of
# contacts that stay the same, and use up their ids. Numbers in order: two imports never wait for each other crosswise.
CONTACTS_SQL = r"""
INSERT INTO campaigns_contact AS c
    (workspace_id, phone, name, fields, status, consent_source, consent_import_id, opted_out_at, opted_out_reason)
SELECT %(workspace)s, r.phone, r.name, r.fields, 'prospect', %(source)s, %(import)s, gone.created_at,
       coalesce(gone.reason, '')
FROM campaigns_importrow r
LEFT JOIN LATERAL (
    SELECT u.created_at, u.reason FROM campaigns_suppression u
    WHERE u.workspace_id = %(workspace)s AND u.phone = r.phone OFFSET 0
) gone ON true
WHERE r.contact_import_id = %(import)s AND r.phone > %(after)s AND r.phone <= %(last)s AND NOT EXISTS (
    SELECT FROM campaigns_contact same
    WHERE same.workspace_id = %(workspace)s AND same.phone = r.phone
      AND (r.name = '' OR r.name = same.name) AND same.fields @> r.fields
    OFFSET 0)
ORDER BY r.phone
ON CONFLICT (workspace_id, phone) DO UPDATE SET
    name = COALESCE(NULLIF(EXCLUDED.name, ''), c.name),
    fields = c.fields || EXCLUDED.fields,
    opted_out_at = coalesce(c.opted_out_at, EXCLUDED.opted_out_at),
    opted_out_reason = CASE WHEN c.opted_out_at IS NULL THEN EXCLUDED.opted_out_reason ELSE c.opted_out_reason END,
    updated_at = now()
RETURNING id, xmax = 0
"""

TAGS_SQL = r"""
INSERT INTO campaigns_tag (workspace_id, name)
SELECT %(workspace)s, tag FROM (
    SELECT DISTINCT tag
    FROM campaigns_importrow r
    CROSS JOIN LATERAL unnest(string_to_array(r.tags, E'\n') || %(tags)s::text[]) AS named(tag)
    WHERE r.contact_import_id = %(import)s AND r.phone > %(after)s AND r.phone <= %(last)s
) wanted
WHERE (SELECT t.id FROM campaigns_tag t WHERE t.workspace_id = %(workspace)s AND t.name = wanted.tag) IS NULL
ORDER BY tag
ON CONFLICT (workspace_id, name) DO NOTHING
"""

LINKS_SQL = r"""
INSERT INTO campaigns_contacttag (workspace_id, contact_id, tag_id)
SELECT DISTINCT %(workspace)s, c.id, t.id
FROM campaigns_importrow r
CROSS JOIN LATERAL unnest(string_to_array(r.tags, E'\n') || %(tags)s::text[]) AS named(tag)
CROSS JOIN LATERAL (
    SELECT id FROM campaigns_contact WHERE workspace_id = %(workspace)s AND phone = r.phone OFFSET 0
) c
CROSS JOIN LATERAL (
    SELECT id FROM campaigns_tag WHERE workspace_id = %(workspace)s AND name = named.tag OFFSET 0
) t
WHERE r.contact_import_id = %(import)s AND r.phone > %(after)s AND r.phone <= %(last)s AND NOT EXISTS (
    SELECT FROM campaigns_contacttag link WHERE link.contact_id = c.id AND link.tag_id = t.id OFFSET 0)
ORDER BY 2, 3
ON CONFLICT (contact_id, tag_id) DO NOTHING
RETURNING contact_id
"""

CLEAR_SQL = """
DELETE FROM campaigns_importrow r WHERE r.contact_import_id = %(import)s AND r.phone > %(after)s AND r.phone <= %(last)s
"""


@dataclass(frozen=True, slots=True)
class Rejected:
    row: int
    line: int
    reason: str
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Saved:
    """What a chunk of people came to; `last` is the last number among them."""

    last: str
    created: int
    updated: int
    unchanged: int


def gather(contact_import: ContactImport, people: Mapping[str, Person]) -> int:
    """Keep these people (by number) for the second pass; returns how many numbers are new in this import."""
    if not people:
        return 0
    # one JSON text costs a fifth of what five arrays do; in the order of the index
    rows = [
        {"phone": phone, "name": person.name, "fields": person.fields, "tags": "\n".join(person.tags)}
        for phone, person in sorted(people.items())
    ]
    with connection.cursor() as cursor:
        cursor.execute(GATHER_SQL, {**_ids(contact_import), "people": json.dumps(rows)})
        return sum(new for (new,) in cursor.fetchall())


def reject(contact_import: ContactImport, rejected: Sequence[Rejected]) -> None:
    if not rejected:
        return
    with connection.cursor() as cursor:
        rows = json.dumps([asdict(row) for row in rejected])
        cursor.execute(REJECT_SQL, {**_ids(contact_import), "rejected": rows})


def save_next(contact_import: ContactImport, after: str, size: int) -> Saved | None:
    """Save the next `size` gathered people after that number and forget their rows; None when none are left."""
    with connection.cursor() as cursor:
        chunk: dict[str, Any] = {**_ids(contact_import), "after": after}
        cursor.execute(PLAN_SQL)
        cursor.execute(CHUNK_SQL, {**chunk, "size": size})
        people, last = cursor.fetchone()
        if not people:
            return None
        chunk |= {"last": last, "source": contact_import.consent_source, "tags": contact_import.tags}
        cursor.execute(CONTACTS_SQL, chunk)
        written = cursor.fetchall()
        cursor.execute(TAGS_SQL, chunk)
        cursor.execute(LINKS_SQL, chunk)
        tagged = {contact for (contact,) in cursor.fetchall()}
        cursor.execute(CLEAR_SQL, chunk)
    created = {contact for contact, new in written if new}
    updated = ({contact for contact, new in written if not new} | tagged) - created
    return Saved(last, len(created), len(updated), people - len(created) - len(updated))


def _ids(contact_import: ContactImport) -> dict[str, Any]:
    return {"workspace": contact_import.workspace_id, "import": contact_import.pk}
