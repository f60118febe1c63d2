"""What people do with the files of messages: upload, choose, keep, rename and delete them, and make room."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns import library, media_store
from campaigns.media import MIB, Readable, UnusableFile, check_file, renamed
from campaigns.models import Media


class Needed(Exception):
    """Something still needs this file; the text says what."""


@transaction.atomic
def keep_file(
    workspace: Workspace, by: User | None, name: str, size: int, file: Readable, *, kept: bool = False
) -> Media:
    """Check an upload and keep it for this workspace's messages; ``kept``: also while none uses it.

    Raises `UnusableFile`; then nothing is kept.
    """
    checked = check_file(file, name, size)
    with connection.cursor() as cursor:  # two uploads at once must not share the last free megabyte
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('media', %s))", [workspace.pk])
    own = Media.objects.for_workspace(workspace)
    known = own.filter(sha256=checked.sha256, name=checked.name, dropped_at=None).exists()
    used = library.bytes_used(workspace)
    if not known and used + len(checked.data) > settings.MEDIA_QUOTA_BYTES:
        room = f"{used // MIB:,} of {settings.MEDIA_QUOTA_BYTES // MIB:,} MB"
        raise UnusableFile(
            f"This workspace's files take {room}: there is no room for this one. Delete files you don't need under "
            "Content, Media. Whoever runs Flotilla can raise MEDIA_QUOTA_MB."
        )
    return media_store.put(workspace, by, checked, kept)


def choose_media(workspace: Workspace, uuid: UUID) -> Media | None:
    """The workspace's own file of this name, for a message; None: it has none, or it was forgotten meanwhile.

    Until the caller's transaction ends, nobody forgets it.
    """
    own = Media.objects.for_workspace(workspace).filter(uuid=uuid, dropped_at=None)
    return own.get() if own.update(chosen_at=Now()) else None


@transaction.atomic
def set_kept(media: Media, by: User | None, kept: bool) -> bool:
    """Keep it in the library whether used or not, or no longer. False: it is so already, or its bytes are gone."""
    changed = Media.objects.filter(pk=media.pk, dropped_at=None, kept_at__isnull=kept).update(
        kept_at=Now() if kept else None,
        chosen_at=Now(),  # what is let go stays for a day
    )
    if changed:
        record(media.workspace, by, "media.kept" if kept else "media.let_go", target(media), name=media.name)
        media.refresh_from_db(fields=["kept_at", "chosen_at"])
    return bool(changed)


@transaction.atomic
def rename_media(media: Media, by: User | None, name: str) -> bool:
    """Whoever gets it from now on sees the new name; its ending stays true. False: nothing is different.

    Raises `UnusableFile` when the same file is there under that name already.
    """
    name = renamed(media, name)
    if name == media.name:
        return False
    try:
        with transaction.atomic():
            Media.objects.filter(pk=media.pk).update(name=name)
    except IntegrityError:
        raise UnusableFile(f"The same file is here as “{name}” already.") from None
    record(media.workspace, by, "media.renamed", target(media), before=media.name, name=name)
    media.refresh_from_db(fields=["name"])
    return True


@transaction.atomic
def delete_media(media: Media, by: User | None) -> bool:
    """Delete it; of one that old messages carried, only the bytes go. False: it is gone already. Raises `Needed`."""
    found = Media.objects.select_for_update().filter(pk=media.pk, dropped_at=None).first()
    if found is None:
        return False
    if users := library.needed_by(found):
        raise Needed(needed_words(users))
    if found.contents.exists():
        media_store.drop([found.pk])
    else:
        found.delete()
    record(media.workspace, by, "media.deleted", target(media), name=media.name, bytes=media.size)
    return True


@transaction.atomic
def make_room(workspace: Workspace, by: User | None) -> tuple[int, int]:
    """Let go of the files that only campaigns that are over have; returns how many, and their bytes."""
    candidates = [media for media, _ in library.spent(workspace)]
    # Whoever is choosing one of them holds its row: afterwards it is no longer spent.
    locked = Media.objects.filter(pk__in=candidates, dropped_at=None).order_by("pk").select_for_update()
    held = set(locked.values_list("pk", flat=True))
    going = {media: size for media, size in library.spent(workspace) if media in held}
    media_store.drop(list(going))
    if going:
        record(workspace, by, "media.room_made", files=len(going), bytes=sum(going.values()))
    return len(going), sum(going.values())


def needed_words(users: list[library.User]) -> str:
    """“It is used by the campaign “Spring” and the template “Hello”.”"""
    named = [f"the {user.what} “{user.name}”" if user.name else "a message on its way" for user in users]
    if len(named) > library.NAMED:
        named[library.NAMED :] = ["others"]
    return f"It is used by {', '.join(named[:-1])}{' and ' if len(named) > 1 else ''}{named[-1]}."


def target(media: Media) -> str:
    return f"media:{media.uuid}"
