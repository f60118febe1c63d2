"""What people do with templates: messages kept for later campaigns."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User, Workspace
from campaigns.models import Content, Media, Template

NAME_LENGTH = 80
COPIES = 100


class NameTaken(Exception):
    """The workspace has a template of this name; the text says so."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a template called “{name}” already. Choose another name.")


@transaction.atomic
def save_template(workspace: Workspace, user: User | None, name: str, text: str, media: Media | None) -> Template:
    """Keep a message under a name of its own, with a content of its own. Raises `NameTaken`; then nothing is kept.

    ``text`` has been parsed, and ``media`` comes from `choose_media`: both are the caller's to check.
    """
    name = tidy(name)
    try:
        with transaction.atomic():
            template: Template = Template.objects.create(
                workspace=workspace,
                name=name,
                content=Content.objects.create(workspace=workspace, text=text, media=media, created_by=user),
                created_by=user,
            )
    except IntegrityError:
        raise NameTaken(name) from None
    record(workspace, user, "template.saved", target(template), name=name)
    return template


@transaction.atomic
def edit_template(template: Template, user: User | None, name: str, text: str, media: Media | None) -> bool:
    """False: nothing is different. Raises `NameTaken`; then nothing is changed."""
    found = Template.objects.select_for_update(of=("self",)).select_related("content__media").get(pk=template.pk)
    name = tidy(name)
    before, same = found.content, found.content.text == text and found.content.media == media
    if same and found.name == name:
        return False
    found.name = name
    if not same:
        found.content = Content.objects.create(workspace_id=found.workspace_id, text=text, media=media, created_by=user)
    found.updated_at = Now()
    try:
        with transaction.atomic():
            found.save(update_fields=["name", "content", "updated_at"])
    except IntegrityError:
        raise NameTaken(name) from None
    if not same:
        let_go(before)
    record(found.workspace, user, "template.edited", target(found), name=name)
    template.refresh_from_db()
    return True


@transaction.atomic
def duplicate_template(template: Template, user: User | None) -> Template:
    """A copy under the first free name. Raises `NameTaken` when there are a hundred copies already."""
    content = template.content
    names = set(Template.objects.for_workspace(template.workspace).values_list("name", flat=True))
    name = next((name for name in copies_of(template.name) if name not in names), template.name)
    return save_template(template.workspace, user, name, content.text, content.media)


@transaction.atomic
def archive_template(template: Template, user: User | None, archived: bool) -> bool:
    """Put it away, or take it out again. False: it is so already."""
    changed = Template.objects.filter(pk=template.pk, archived_at__isnull=archived).update(
        archived_at=Now() if archived else None
    )
    if changed:
        record(template.workspace, user, "template.archived" if archived else "template.restored", target(template))
        template.refresh_from_db()
    return bool(changed)


@transaction.atomic
def delete_template(template: Template, user: User | None) -> bool:
    """Campaigns written from it have contents of their own, so nothing else changes. False: it is gone already."""
    deleted, _ = Template.objects.filter(pk=template.pk).delete()
    if deleted:
        let_go(template.content)
        record(template.workspace, user, "template.deleted", target(template), name=template.name)
    return bool(deleted)


def let_go(content: Content) -> None:
    """No template has this version any more: its file need not stay for it.

    The row stays: before deleting one, Postgres would go through all messages for one that was sent from it.
    """
    Content.objects.filter(pk=content.pk).update(media=None)


def tidy(name: str) -> str:
    return " ".join(name.split())[:NAME_LENGTH].strip()


def copies_of(name: str) -> list[str]:
    """“Spring” → “Spring (copy)”, “Spring (copy 2)” and so on, each short enough."""
    endings = [" (copy)", *(f" (copy {number})" for number in range(2, COPIES))]
    return [name[: NAME_LENGTH - len(ending)].rstrip() + ending for ending in endings]


def target(template: Template) -> str:
    return f"template:{template.uuid}"
