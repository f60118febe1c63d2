"""Writing to the audit ledger: plain inserts, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from accounts.models import AuditEntry

if TYPE_CHECKING:
    from accounts.models import User, Workspace


LOOK_LASTS = timedelta(hours=1)


def record(workspace: Workspace | None, actor: User | None, action: str, target: str = "", **detail: Any) -> None:
    """Note that ``actor`` (None: Flotilla itself) did ``action`` to ``target`` (``"noun:uuid"``).

    ``detail`` must be JSON and holds neither message text nor full phone numbers.
    """
    AuditEntry.objects.create(workspace=workspace, actor=actor, action=action, target=target, detail=detail)


def note_look(actor: User, action: str, target: str = "", *, again: bool = False) -> None:
    """Note that staff look beyond a workspace of their own.

    ``again``: the request may belong to a look that is noted already, as a page's refresh does, or a program that asks
    every few seconds. A look that lasts is noted once an hour. What a request says of itself decides no more than that.
    """
    if again:
        lately = AuditEntry.objects.filter(workspace=None, target=target, at__gt=timezone.now() - LOOK_LASTS)
        if lately.filter(actor=actor, action=action).exists():
            return
    record(None, actor, action, target)


def record_each(workspace: Workspace | None, actor: User | None, action: str, targets: Iterable[str]) -> None:
    """The same deed done to many, each for itself."""
    AuditEntry.objects.bulk_create(
        AuditEntry(workspace=workspace, actor=actor, action=action, target=target) for target in targets
    )
