"""The library of a workspace's files: which there are, what uses them, and how much room they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet, Sum

from accounts.models import Workspace
from campaigns.models import Media, MediaKind, Template

PAGE = 24
NAMED = 5  # users of a file that a refusal names

# A campaign in doubt about something it sent may send it again: it is not over. What a campaign or template had before
# its last edit counts no more.
USES = """
SELECT c.media_id, 'campaign' AS what, k.id, k.uuid, k.name,
       k.state IN ('completed', 'cancelled')
       AND NOT EXISTS (SELECT FROM campaigns_stream s WHERE s.campaign_id = k.id AND s.uncertain > 0) AS over
FROM campaigns_content c
JOIN campaigns_campaign k ON k.workspace_id = c.workspace_id AND k.content_id = c.id
WHERE c.workspace_id = %(workspace)s AND {these}
UNION
SELECT c.media_id, 'campaign', k.id, k.uuid, k.name,
       k.state IN ('completed', 'cancelled')
       AND NOT EXISTS (SELECT FROM campaigns_stream s WHERE s.campaign_id = k.id AND s.uncertain > 0)
FROM campaigns_content c
JOIN campaigns_variant v ON v.workspace_id = c.workspace_id AND v.content_id = c.id
JOIN campaigns_campaign k ON k.id = v.campaign_id
WHERE c.workspace_id = %(workspace)s AND {these}
UNION
SELECT c.media_id, 'template', t.id, t.uuid, t.name, false
FROM campaigns_content c
JOIN campaigns_template t ON t.workspace_id = c.workspace_id AND t.content_id = c.id
WHERE c.workspace_id = %(workspace)s AND {these}
UNION
SELECT c.media_id, 'message', m.id, NULL::uuid, '', false
FROM campaigns_stream s
JOIN campaigns_message m ON m.stream_id = s.id AND m.state IN ('pending', 'waiting', 'sending')
JOIN campaigns_content c ON c.id = m.content_id
WHERE s.workspace_id = %(workspace)s AND s.campaign_id IS NULL AND s.pending + s.waiting + s.sending > 0 AND {these}
"""
COUNT_SQL = """
SELECT media_id, count(*) FILTER (WHERE what = 'campaign'), count(*) FILTER (WHERE what = 'template')
FROM ({uses}) used GROUP BY media_id
"""
NEEDED_SQL = """
SELECT what, uuid, name FROM ({uses}) used
WHERE NOT over ORDER BY what, name, id LIMIT %(most)s
"""
# An hour, so that nothing goes while somebody has it in an open form.
SPENT_SQL = """
SELECT m.id, m.size FROM campaigns_media m
WHERE m.workspace_id = %(workspace)s AND m.dropped_at IS NULL AND m.kept_at IS NULL
  AND m.chosen_at < now() - interval '1 hour'
  AND EXISTS (SELECT FROM campaigns_content c WHERE c.workspace_id = m.workspace_id AND c.media_id = m.id)
  AND m.id NOT IN (SELECT media_id FROM ({uses}) used WHERE NOT over)
"""


class Uses(NamedTuple):
    """In how many a file is now."""

    campaigns: int = 0
    templates: int = 0


class User(NamedTuple):
    """Who still needs a file: ``what`` is a campaign, a template, or a single message on its way, which has no name."""

    what: str
    uuid: UUID | None
    name: str


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes: what the workspace's files take, may take, and would give back (``spent``, in so many files)."""

    used: int
    most: int
    spent: int = 0
    spent_files: int = 0

    @property
    def percent(self) -> int:
        return min(100, round(100 * self.used / self.most)) if self.most else 100

    @property
    def words(self) -> str:
        """What happens when they are let go of."""
        files = f"{self.spent_files:,} file{'' if self.spent_files == 1 else 's'}"
        return (
            f"{files} only in campaigns that are over, and not kept. The campaigns and their messages stay and say "
            "that the file is gone; those that failed can't be sent again with it."
        )

    @property
    def colour(self) -> str:
        return "red" if self.percent >= 95 else "amber" if self.percent >= 80 else "green"


def files_of(workspace: Workspace, search: str = "", kind: str = "") -> QuerySet[Media]:
    """Those whose bytes are there, the newest first."""
    found = Media.objects.for_workspace(workspace).filter(dropped_at=None)
    if search := search.replace("\0", "").strip()[:100]:
        found = found.filter(name__icontains=search)
    if kind in MediaKind.values:
        found = found.filter(kind=kind)
    return found.order_by("-pk")


def page_of(files: QuerySet[Media], before: str = "", size: int = PAGE) -> tuple[list[Media], int | None]:
    """The files before a key, and the key of the next page; None: this is the last one."""
    if before.isascii() and before.isdecimal() and len(before) < 19:
        files = files.filter(pk__lt=int(before))
    rows = list(files[: size + 1])
    return rows[:size], rows[size - 1].pk if len(rows) > size else None


def uses_of(workspace: Workspace, files: Sequence[Media]) -> dict[int, Uses]:
    """By the id of the file; of those that nothing uses there is none."""
    if not files:
        return {}
    rows = asked(COUNT_SQL, workspace, files)
    return {media: Uses(campaigns, templates) for media, campaigns, templates in rows}


def needed_by(media: Media) -> list[User]:
    """At most one more than `NAMED`."""
    return [User(*row) for row in asked(NEEDED_SQL, media.workspace, [media])]


def spent(workspace: Workspace) -> list[tuple[int, int]]:
    """Id and size of each file that only campaigns that are over have, and nobody keeps."""
    return [(media, size) for media, size in asked(SPENT_SQL, workspace)]


def asked(statement: str, workspace: Workspace, files: Sequence[Media] = ()) -> list[tuple[Any, ...]]:
    """About these files, or all of the workspace's."""
    these = "c.media_id = ANY(%(media)s)" if files else "c.media_id IS NOT NULL"
    values: dict[str, Any] = {"workspace": workspace.pk, "media": [file.pk for file in files], "most": NAMED + 1}
    with connection.cursor() as cursor:
        cursor.execute(statement.format(uses=USES.format(these=these)), values)
        return cursor.fetchall()


def bytes_used(workspace: Workspace) -> int:
    own = Media.objects.for_workspace(workspace).filter(dropped_at=None)
    return own.aggregate(bytes=Sum("size"))["bytes"] or 0


def room_of(workspace: Workspace) -> Room:
    gone = spent(workspace)
    return Room(bytes_used(workspace), settings.MEDIA_QUOTA_BYTES, sum(size for _, size in gone), len(gone))


def templates_of(workspace: Workspace, search: str = "", archived: bool = False) -> QuerySet[Template]:
    """By name, with what they say."""
    found = Template.objects.for_workspace(workspace).filter(archived_at__isnull=not archived)
    if search := search.replace("\0", "").strip()[:100]:
        found = found.filter(name__icontains=search) | found.filter(content__text__icontains=search)
    return found.select_related("content").prefetch_related("content__media").order_by("name")
