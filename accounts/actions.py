"""What people do with accounts and workspaces: open one, change its settings, become its first owner."""

from __future__ import annotations

from datetime import time

from allauth.account.models import EmailAddress
from django.db import connection, transaction

from accounts.audit import record
from accounts.models import Membership, Role, User, Workspace

FIRST_ACCOUNT_LOCK = 7_301_001  # any number no other advisory lock uses


@transaction.atomic
def create_workspace(owner: User, *, name: str, timezone: str = "UTC", default_country: str = "MY") -> Workspace:
    """The workspace of somebody who signs up. Raises IntegrityError when the owner has one already."""
    workspace = Workspace.objects.create(owner=owner, name=name, timezone=timezone, default_country=default_country)
    Membership.objects.create(workspace=workspace, user=owner, role=Role.OWNER)
    record(workspace, owner, "workspace.created", f"workspace:{workspace.uuid}", name=name)
    return workspace


@transaction.atomic
def change_workspace(workspace: Workspace, by: User, **fields: str | int | time | None) -> bool:
    """Save these settings; the ledger says what they were and are. False when nothing is different."""
    before = Workspace.objects.values(*fields).get(pk=workspace.pk)
    changes = {name: [before[name], value] for name, value in fields.items() if before[name] != value}
    if not changes:
        return False
    for name, value in fields.items():
        setattr(workspace, name, value)
    workspace.save(update_fields=list(changes))
    said = {name: [_in_words(value) for value in pair] for name, pair in changes.items()}
    record(workspace, by, "workspace.changed", f"workspace:{workspace.uuid}", **said)
    return True


def _in_words(value: object) -> object:
    return f"{value:%H:%M}" if isinstance(value, time) else value


def needs_first_account() -> bool:
    """While nobody can administer the installation."""
    return not User.objects.filter(is_superuser=True, is_active=True).exists()


@transaction.atomic
def create_first_account(email: str, password: str, **workspace_fields: str) -> User | None:
    """Staff, superuser and owner of the first workspace. None when somebody else was faster."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [FIRST_ACCOUNT_LOCK])
    if not needs_first_account():
        return None
    user = User.objects.create_superuser(email, password)
    # Whoever holds the link holds the machine: nothing is left to verify.
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    workspace = create_workspace(user, **workspace_fields)
    record(workspace, user, "installation.first_account")
    return user
