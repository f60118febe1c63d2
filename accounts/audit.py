"""Writing to the audit ledger: plain inserts, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from accounts.models import AuditEntry

if TYPE_CHECKING:
    from accounts.models import User, Workspace


def record(workspace: Workspace | None, actor: User | None, action: str, target: str = "", **detail: Any) -> None:
    """Note that ``actor`` (None: Flotilla itself) did ``action`` to ``target`` (``"noun:uuid"``).

    ``detail`` must be JSON and holds neither message text nor full phone numbers.
    """
    AuditEntry.objects.create(workspace=workspace, actor=actor, action=action, target=target, detail=detail)


def record_each(workspace: Workspace | None, actor: User | None, action: str, targets: Iterable[str]) -> None:
    """The same deed done to many, each for itself."""
    AuditEntry.objects.bulk_create(
        AuditEntry(workspace=workspace, actor=actor, action=action, target=target) for target in targets
    )
