"""The files of messages in Postgres: put in whole, taken out in pieces, and forgotten when nobody uses them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from django.db import connection

from accounts.models import User, Workspace
from campaigns.models import Media
from campaigns.outbox.statement import rows_of

if TYPE_CHECKING:  # engines read files and check none: they need no library for pictures
    from campaigns.media import CheckedFile

PIECE = 1 << 20

# By the outbox's way of binding: Django's would write the bytes out in hex, several times over in memory.
PUT_SQL = """
INSERT INTO campaigns_media AS m
    (workspace_id, uuid, kind, mime, name, size, sha256, width, height, seconds, data, thumbnail, created_by_id,
     kept_at)
VALUES (%(workspace)s, %(uuid)s, %(kind)s, %(mime)s, %(name)s, %(size)s, %(sha256)s, %(width)s, %(height)s, %(seconds)s,
        %(data)s, %(thumbnail)s, %(by)s, CASE WHEN %(kept)s::bool THEN now() END)
ON CONFLICT (workspace_id, sha256, name) DO UPDATE SET
    chosen_at = now(),
    kept_at = coalesce(m.kept_at, excluded.kept_at),
    data = CASE WHEN m.dropped_at IS NULL THEN m.data ELSE excluded.data END,
    thumbnail = coalesce(m.thumbnail, excluded.thumbnail),
    dropped_at = NULL
RETURNING id
"""

DROP_SQL = """
UPDATE campaigns_media SET data = '', thumbnail = NULL, kept_at = NULL, dropped_at = now()
WHERE id = ANY(%s) AND dropped_at IS NULL
"""

FORGET_SQL = """
DELETE FROM campaigns_media m
WHERE m.chosen_at < now() - interval '1 day' AND m.kept_at IS NULL
  AND NOT EXISTS (SELECT FROM campaigns_content c WHERE c.workspace_id = m.workspace_id AND c.media_id = m.id)
"""


def put(workspace: Workspace, by: User | None, file: CheckedFile, kept: bool = False) -> Media:
    """The row of this file, ``kept`` for good or while it is used.

    One that is there already counts as chosen now, and gets back bytes that were let go.
    """
    values = {
        "workspace": workspace.pk,
        "uuid": uuid.uuid4(),
        "kind": str(file.type.kind),
        "mime": file.type.mime,
        "name": file.name,
        "size": len(file.data),
        "sha256": file.sha256,
        "width": file.width,
        "height": file.height,
        "seconds": file.seconds,
        "data": file.data,
        "thumbnail": file.thumbnail,
        "kept": kept,
        "by": by.pk if by else None,
    }
    [[found]] = rows_of(PUT_SQL, values)
    return Media.objects.get(pk=found)


def pieces(media: int) -> Iterator[bytes]:
    """The file of this id from its beginning; nothing where it is gone."""
    offset = 0
    while piece := piece_at(media, offset):
        yield piece
        offset += len(piece)


def piece_at(media: int, offset: int) -> bytes:
    """At most `PIECE` bytes of the file from there on; none at its end, or where it is gone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT substring(data FROM %s FOR %s) FROM campaigns_media WHERE id = %s", [offset + 1, PIECE, media]
        )
        row = cursor.fetchone()
    return bytes(row[0]) if row else b""


def forget_unused() -> int:
    """Delete the files that no message has, nobody keeps and nobody chose for a day; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET_SQL)
        return int(cursor.rowcount)


def take(media: int) -> bytes:
    """The whole file of this id; empty where it is gone."""
    return b"".join(pieces(media))


def drop(media: Sequence[int]) -> None:
    """Let go of the bytes; the rows go on saying what old messages carried."""
    with connection.cursor() as cursor:
        cursor.execute(DROP_SQL, [list(media)])
