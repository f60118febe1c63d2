"""What people do with the files of messages: upload one, and choose it."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum
from django.db.models.functions import Now

from accounts.models import User, Workspace
from campaigns.media import MIB, Readable, UnusableFile, check_file
from campaigns.media_store import put
from campaigns.models import Media


@transaction.atomic
def keep_file(workspace: Workspace, by: User | None, name: str, size: int, file: Readable) -> Media:
    """Check an upload and keep it for this workspace's messages. Raises `UnusableFile`; then nothing is kept."""
    checked = check_file(file, name, size)
    with connection.cursor() as cursor:  # two uploads at once must not share the last free megabyte
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('media', %s))", [workspace.pk])
    own = Media.objects.for_workspace(workspace)
    known = own.filter(sha256=checked.sha256, name=checked.name).exists()
    used = own.aggregate(bytes=Sum("size"))["bytes"] or 0
    if not known and used + len(checked.data) > settings.MEDIA_QUOTA_BYTES:
        room = f"{used // MIB:,} of {settings.MEDIA_QUOTA_BYTES // MIB:,} MB"
        raise UnusableFile(
            f"This workspace's files take {room}: there is no room for this one. Delete drafts with files you don't "
            "need: their files go a day later. Whoever runs Flotilla can raise MEDIA_QUOTA_MB."
        )
    return put(workspace, by, checked)


def choose_media(workspace: Workspace, uuid: UUID) -> Media | None:
    """The workspace's own file of this name, for a message; None: it has none, or it was forgotten meanwhile.

    Until the caller's transaction ends, nobody forgets it.
    """
    own = Media.objects.for_workspace(workspace).filter(uuid=uuid)
    return own.get() if own.update(chosen_at=Now()) else None
