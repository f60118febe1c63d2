"""The statements of an import: rows gathered by number, then saved as contacts, tags and links, a chunk at a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection, transaction

from accounts.phones import zone_of
from campaigns.imports.mapping import Person
from campaigns.models import ContactImport, UpdatePolicy

# A later row has the last word on every column it fills; what it leaves empty stays.
GATHER_SQL = r"""
INSERT INTO campaigns_importrow AS kept
    (workspace_id, contact_import_id, phone, name, fields, tags, status, timezone)
SELECT %(workspace)s, %(import)s, phone, name, fields, tags, status, timezone
FROM json_to_recordset(%(people)s::json)
    AS person(phone text, name text, fields jsonb, tags text, status text, timezone text)
ON CONFLICT (contact_import_id, phone) DO UPDATE SET
    name = COALESCE(NULLIF(EXCLUDED.name, ''), kept.name),
    fields = kept.fields || EXCLUDED.fields,
    status = COALESCE(NULLIF(EXCLUDED.status, ''), kept.status),
    tags = (SELECT COALESCE(string_agg(DISTINCT tag, E'\n'), '')
            FROM unnest(string_to_array(kept.tags || E'\n' || EXCLUDED.tags, E'\n')) AS tag WHERE tag <> '')
RETURNING (xmax = 0)
"""

REJECT_SQL = """
INSERT INTO campaigns_importreject (workspace_id, contact_import_id, row, line, reason, cells)
SELECT %(workspace)s, %(import)s, row, line, reason, cells
FROM json_to_recordset(%(rejected)s::json) AS rejected(row bigint, line bigint, reason text, cells jsonb)
"""

# A commit is then durable a moment later, in its turn: what is lost when the machine dies are the last commits, never
# one from among them.
SOON_SQL = "SET LOCAL synchronous_commit = off"

# While tables grow from nothing the planner has no statistics of them, takes them for small and compares each row with
# all of theirs: seconds a chunk. So each is looked up by itself in a subquery, which OFFSET 0 keeps out of any join.
PLAN_SQL = "SET LOCAL enable_seqscan = off"

CHUNK_SQL = """
SELECT count(*), max(phone) FROM (
    SELECT phone FROM campaigns_importrow
    WHERE contact_import_id = %(import)s AND phone > %(after)s ORDER BY phone LIMIT %(size)s
) next
"""

# What a policy changes about `same`, the contact that the row `r` speaks of. A zone is only ever filled in.
CHANGES = {
    UpdatePolicy.OVERWRITE: """(r.name <> '' AND r.name <> same.name) OR NOT same.fields @> r.fields
        OR (r.status <> '' AND r.status <> same.status) OR (same.timezone = '' AND r.timezone <> '')""",
    UpdatePolicy.FILL: """(same.name = '' AND r.name <> '') OR r.fields || same.fields <> same.fields
        OR (same.timezone = '' AND r.timezone <> '')""",
    UpdatePolicy.SKIP: "false",
}
SETS = {
    UpdatePolicy.OVERWRITE: """
    name = COALESCE(NULLIF(EXCLUDED.name, ''), c.name),
    fields = c.fields || EXCLUDED.fields,
    status = EXCLUDED.status,""",
    UpdatePolicy.FILL: """
    name = COALESCE(NULLIF(c.name, ''), EXCLUDED.name),
    fields = EXCLUDED.fields || c.fields,""",
}
UPDATE_SQL = """DO UPDATE SET {sets}
    timezone = COALESCE(NULLIF(c.timezone, ''), EXCLUDED.timezone),
    opted_out_at = coalesce(c.opted_out_at, EXCLUDED.opted_out_at),
    opted_out_reason = CASE WHEN c.opted_out_at IS NULL THEN EXCLUDED.opted_out_reason ELSE c.opted_out_reason END,
    updated_at = statement_timestamp()"""

# Rows that would change nothing are left out before the INSERT: ON CONFLICT alone would lock and rewrite headers of
# contacts that stay the same, and use up their ids. Numbers in order: two imports never wait for each other crosswise.
# Materialized, because the look-ups would otherwise go through the contacts that this very statement writes.
# Whoever had opted out agrees to nothing by being in a file, so the ledger says nothing of them. Who brought
# the others is what the import says: a key to check less.
CONTACTS_SQL = r"""
WITH person AS MATERIALIZED (
    SELECT r.phone, r.name, r.fields, coalesce(nullif(r.status, ''), same.status, 'prospect') AS status, r.timezone,
           gone.created_at AS gone_at, coalesce(gone.reason, '') AS why
    FROM campaigns_importrow r
    LEFT JOIN LATERAL (
        SELECT u.created_at, u.reason FROM campaigns_suppression u
        WHERE u.workspace_id = %(workspace)s AND u.phone = r.phone OFFSET 0
    ) gone ON true
    LEFT JOIN LATERAL (
        SELECT c.id, c.name, c.fields, c.status, c.timezone FROM campaigns_contact c
        WHERE c.workspace_id = %(workspace)s AND c.phone = r.phone OFFSET 0
    ) same ON true
    WHERE r.contact_import_id = %(import)s AND r.phone > %(after)s AND r.phone <= %(last)s
      AND (same.id IS NULL OR {changes})
    ORDER BY r.phone
), written AS (
    INSERT INTO campaigns_contact AS c (workspace_id, phone, name, fields, status, timezone, consent_source,
                                        consent_import_id, opted_out_at, opted_out_reason)
    SELECT %(workspace)s, phone, name, fields, status, timezone, %(source)s, %(import)s, gone_at, why
    FROM person ORDER BY phone
    ON CONFLICT (workspace_id, phone) {otherwise}
    RETURNING id, phone, xmax = 0 AS new, opted_out_at
), agreed AS (
    INSERT INTO campaigns_consententry (workspace_id, contact_id, phone, kind, source, proof, contact_import_id)
    SELECT %(workspace)s, id, phone, 'granted', %(source)s, %(proof)s, %(import)s
    FROM written WHERE new AND opted_out_at IS NULL
)
SELECT id, new FROM written
"""

# In a transaction of its own before the people: two chunks at once would wait for each other's new tags.
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
WHERE r.contact_import_id = %(import)s AND r.phone > %(after)s AND r.phone <= %(last)s AND {whose}
ORDER BY 2, 3
{otherwise}
"""
# Nobody else can see them yet: no link of theirs is there or comes between.
LINKS_OF_NEW_SQL = LINKS_SQL.format(whose="c.id = ANY(%(created)s::bigint[])", otherwise="")
LINKS_OF_OTHERS_SQL = LINKS_SQL.format(
    whose="""NOT c.id = ANY(%(created)s::bigint[]) AND NOT EXISTS (
    SELECT FROM campaigns_contacttag link WHERE link.contact_id = c.id AND link.tag_id = t.id OFFSET 0)""",
    otherwise="ON CONFLICT (contact_id, tag_id) DO NOTHING RETURNING contact_id",
)

# The rows of people who had opted out stay: the list of those whom the import left out.
CLEAR_SQL = """
DELETE FROM campaigns_importrow r
WHERE r.contact_import_id = %(import)s AND r.phone > %(after)s AND r.phone <= %(last)s
  AND NOT (EXISTS (SELECT FROM campaigns_contact c WHERE c.workspace_id = %(workspace)s AND c.phone = r.phone
                   AND c.opted_out_at IS NOT NULL OFFSET 0)
           OR EXISTS (SELECT FROM campaigns_globalsuppression g WHERE g.phone = r.phone OFFSET 0))
"""

FORESEE_SQL = r"""
SELECT count(*) FILTER (WHERE same.id IS NULL),
       count(*) FILTER (WHERE same.id IS NOT NULL AND %(policy)s <> 'skip' AND ({changes} OR EXISTS (
           SELECT FROM unnest(string_to_array(r.tags, E'\n') || %(tags)s::text[]) AS named(tag)
           WHERE NOT EXISTS (
               SELECT FROM campaigns_tag t JOIN campaigns_contacttag link ON link.tag_id = t.id
               WHERE t.workspace_id = %(workspace)s AND t.name = named.tag AND link.contact_id = same.id OFFSET 0)))),
       count(*) FILTER (WHERE same.opted_out_at IS NOT NULL OR EXISTS (
           SELECT FROM campaigns_suppression u WHERE u.workspace_id = %(workspace)s AND u.phone = r.phone OFFSET 0
       ) OR EXISTS (SELECT FROM campaigns_globalsuppression g WHERE g.phone = r.phone OFFSET 0))
FROM campaigns_importrow r
LEFT JOIN LATERAL (
    SELECT c.id, c.name, c.fields, c.status, c.timezone, c.opted_out_at FROM campaigns_contact c
    WHERE c.workspace_id = %(workspace)s AND c.phone = r.phone OFFSET 0
) same ON true
WHERE r.contact_import_id = %(import)s AND r.phone > %(after)s AND r.phone <= %(last)s
"""

ERASED_SINCE_SQL = """
DELETE FROM campaigns_importrow WHERE contact_import_id = %(import)s AND phone = ANY(%(erased)s)
"""

# People by number before anything of theirs, as everywhere. Looked at under that lock: nobody can write to them, tag
# or change them between the question and the deed.
UNDO_LOCK_SQL = """
SELECT id FROM campaigns_contact WHERE id = ANY(%(ids)s) AND consent_import_id = %(import)s ORDER BY phone FOR UPDATE
"""
UNDO_NEXT_SQL = """
SELECT id FROM campaigns_contact WHERE consent_import_id = %(import)s AND id > %(after)s ORDER BY id LIMIT %(size)s
"""
# The import wrote a contact and its tags in one transaction: a tag of another one was put on since.
UNDO_JUDGE_SQL = """
SELECT c.id, CASE
    WHEN EXISTS (SELECT FROM campaigns_message m WHERE m.contact_id = c.id OFFSET 0) THEN 'written'
    WHEN EXISTS (SELECT FROM campaigns_reply a WHERE a.contact_id = c.id OFFSET 0) THEN 'replied'
    WHEN c.updated_at <> c.created_at OR EXISTS (
        SELECT FROM campaigns_contacttag link WHERE link.contact_id = c.id AND link.xmin <> c.xmin OFFSET 0
    ) THEN 'changed'
    ELSE '' END
FROM campaigns_contact c WHERE c.id = ANY(%(ids)s)
"""
UNDO_SQL = (
    "UPDATE campaigns_consententry SET contact_id = NULL WHERE contact_id = ANY(%(ids)s)",
    "DELETE FROM campaigns_contacttag WHERE contact_id = ANY(%(ids)s)",
    "DELETE FROM campaigns_contact WHERE id = ANY(%(ids)s)",
)


@dataclass(frozen=True, slots=True)
class Rejected:
    row: int
    line: int
    reason: str
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """So many people of an import: those with a number after `after`, up to `last`."""

    after: str
    last: str
    people: int


@dataclass(frozen=True, slots=True)
class Saved:
    """What a chunk of people came to."""

    created: int
    updated: int
    unchanged: int
    kept_out: int


def gather(contact_import: ContactImport, people: Mapping[str, Person]) -> int:
    """Keep these people (by number) for the second pass; returns how many numbers are new in this import."""
    if not people:
        return 0
    # one JSON text costs a fifth of what five arrays do; in the order of the index
    rows = [
        {
            "phone": phone,
            "name": person.name,
            "fields": person.fields,
            "tags": "\n".join(person.tags),
            "status": person.status,
            "timezone": zone_of(phone),
        }
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


def next_chunk(contact_import: ContactImport, after: str, size: int) -> Chunk | None:
    """The next `size` gathered people after that number; None when none are left."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PLAN_SQL)
        cursor.execute(CHUNK_SQL, {**_ids(contact_import), "after": after, "size": size})
        people, last = cursor.fetchone()
    return Chunk(after, last, people) if people else None


def make_tags(contact_import: ContactImport, chunk: Chunk) -> None:
    """Make the tags that these people get and that the workspace has not."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PLAN_SQL)
        cursor.execute(TAGS_SQL, _values(contact_import, chunk))


def commit_soon() -> None:
    """Let this transaction commit without waiting for the disk, as every later commit that does wait covers it."""
    with connection.cursor() as cursor:
        cursor.execute(SOON_SQL)


def save(contact_import: ContactImport, chunk: Chunk) -> Saved:
    """Save these gathered people and forget their rows. Their tags are made."""
    values = _values(contact_import, chunk)
    changes, sets = CHANGES[values["policy"]], SETS.get(values["policy"])
    otherwise = UPDATE_SQL.format(sets=sets) if sets else "DO NOTHING"
    with connection.cursor() as cursor:
        cursor.execute(PLAN_SQL)
        cursor.execute(CONTACTS_SQL.format(changes=changes, otherwise=otherwise), values)
        written = cursor.fetchall()
        created = {contact for contact, new in written if new}
        updated = {contact for contact, new in written if not new}
        values["created"] = list(created)
        if created:
            cursor.execute(LINKS_OF_NEW_SQL, values)
        if len(created) < chunk.people and values["policy"] != UpdatePolicy.SKIP:
            cursor.execute(LINKS_OF_OTHERS_SQL, values)
            updated |= {contact for (contact,) in cursor.fetchall()}
        cursor.execute(CLEAR_SQL, values)
        kept_out = chunk.people - cursor.rowcount
    return Saved(len(created), len(updated), chunk.people - len(created) - len(updated), kept_out)


def foresee(contact_import: ContactImport, chunk: Chunk) -> Saved:
    """What `save` would come to now; changes nothing."""
    values = _values(contact_import, chunk)
    with connection.cursor() as cursor:
        cursor.execute(PLAN_SQL)
        cursor.execute(FORESEE_SQL.format(changes=CHANGES[values["policy"]]), values)
        created, updated, kept_out = cursor.fetchone()
    return Saved(created, updated, chunk.people - created - updated, kept_out)


def forget_erased(contact_import: ContactImport, phones: Sequence[str]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(ERASED_SINCE_SQL, {**_ids(contact_import), "erased": list(phones)})
        return int(cursor.rowcount)


@dataclass(frozen=True, slots=True)
class Undone:
    """What a chunk of an undo came to; `kept`: why a contact stayed → how many."""

    last: int
    removed: int
    kept: Mapping[str, int]


def undo_next(contact_import: ContactImport, after: int, size: int) -> Undone | None:
    """Remove the next `size` contacts that this import made, if nothing happened to them; None when none are left."""
    with connection.cursor() as cursor:
        cursor.execute(UNDO_NEXT_SQL, {**_ids(contact_import), "after": after, "size": size})
        ids = [contact for (contact,) in cursor.fetchall()]
        if not ids:
            return None
        cursor.execute(UNDO_LOCK_SQL, {**_ids(contact_import), "ids": ids})
        locked = [contact for (contact,) in cursor.fetchall()]
        cursor.execute(UNDO_JUDGE_SQL, {"ids": locked})
        judged = cursor.fetchall()
        removed = [contact for contact, why in judged if not why]
        for statement in UNDO_SQL:
            cursor.execute(statement, {"ids": removed})
    return Undone(ids[-1], len(removed), Counter(why for _, why in judged if why))


def _values(contact_import: ContactImport, chunk: Chunk) -> dict[str, Any]:
    return _ids(contact_import) | {
        "after": chunk.after,
        "last": chunk.last,
        "source": contact_import.consent_source,
        "proof": contact_import.consent_proof,
        "tags": contact_import.tags,
        "policy": contact_import.policy,
    }


def _ids(contact_import: ContactImport) -> dict[str, Any]:
    return {"workspace": contact_import.workspace_id, "import": contact_import.pk}
