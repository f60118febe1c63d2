"""The questions that joining two tags asks of a million people."""

from __future__ import annotations

from django.db import connection

# Each is looked up by itself, which OFFSET 0 keeps out of any join: how many have a tag is not known while it is given.
LACKING_SQL = """
SELECT s.contact_id FROM campaigns_contacttag s
WHERE s.tag_id = %(source)s AND NOT EXISTS (
    SELECT FROM campaigns_contacttag t WHERE t.contact_id = s.contact_id AND t.tag_id = %(target)s OFFSET 0)
ORDER BY s.contact_id DESC LIMIT 1
"""


def newest_lacking(source: int, target: int) -> int | None:
    """The newest contact that has the tag ``source`` and not ``target``."""
    with connection.cursor() as cursor:
        cursor.execute(LACKING_SQL, {"source": source, "target": target})
        row = cursor.fetchone()
    return row[0] if row else None
