"""Tenancy: the scoped models, the restricted database role, and the migration operation that walls a table in.

Two walls stand between workspaces. Every lookup starts at ``for_workspace``; and web requests run as the role
``flotilla_tenant``, for which row-level security shows one workspace only (docs/operations.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.db import connection, models, transaction
from django.db.migrations.operations.base import Operation

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor

    from accounts.models import Workspace

TENANT_ROLE = "flotilla_tenant"
CURRENT_WORKSPACE = "NULLIF(current_setting('flotilla.workspace', true), '')::bigint"


Row = TypeVar("Row", bound=models.Model, covariant=True)


class TenantQuerySet(models.QuerySet[Row]):
    def for_workspace(self, workspace: Workspace) -> Self:
        return self.filter(workspace=workspace)

    def for_workspaces(self, workspaces: Collection[Workspace]) -> Self:
        """For the installation's own work, which looks after many at once."""
        return self.filter(workspace__in=workspaces)


TenantManager = models.Manager.from_queryset(TenantQuerySet)


class TenantModel(models.Model):
    """A row that belongs to one workspace. Its table must pass through `Wall` in the migration that makes it."""

    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)

    objects = TenantManager()

    class Meta:
        abstract = True


class TenantForeignKey(models.ForeignKey):
    """A foreign key whose constraint is (workspace_id, column) → (workspace_id, id), made by `Wall`.

    Django 5.2 cannot declare composite foreign keys, so the column has no constraint of its own.
    """

    def __init__(self, to: Any, on_delete: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        super().__init__(to, on_delete, **kwargs)


class DatabaseOperation(Operation):
    """Touches tables and no model state; undoing its migration drops the table or column, and this goes with it."""

    reversible = True
    reduces_to_sql = True

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        pass


class Wall(DatabaseOperation):
    """Migration operation: wall in the tables of this app's named tenant models.

    Each table gets its composite foreign keys, row-level security, and the tenant role's grants: everything, or what
    ``grant`` says (a ledger is ``SELECT, INSERT``; an empty text is nothing at all).
    """

    def __init__(self, *names: str, grant: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
        self.names = names
        self.grant = grant

    def describe(self) -> str:
        return f"Wall in {', '.join(self.names)}"

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        for name in self.names:
            for statement in wall_sql(to_state.apps.get_model(app_label, name), self.grant):
                schema_editor.execute(statement)


class TenantReference(DatabaseOperation):
    """After `AddField` of a `TenantForeignKey`: its composite foreign key."""

    def __init__(self, name: str, field: str) -> None:
        self.name = name
        self.field = field

    def describe(self) -> str:
        return f"Composite key of {self.name}.{self.field}"

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        model = to_state.apps.get_model(app_label, self.name)
        for statement in composite_key_sql(model._meta.db_table, model._meta.get_field(self.field)):
            schema_editor.execute(statement)


def wall_sql(model: type[models.Model], grant: str) -> Iterator[str]:
    table = model._meta.db_table
    for field in model._meta.local_fields:
        if isinstance(field, TenantForeignKey):
            yield from composite_key_sql(table, field)
    yield f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY'
    yield f'CREATE POLICY one_workspace ON "{table}" USING (workspace_id = {CURRENT_WORKSPACE})'
    if grant:
        yield grant_sql(table, grant)


def composite_key_sql(table: str, field: models.ForeignKey) -> Iterator[str]:
    """The composite reference; deferrable so that Django may delete in its own order inside a transaction.

    ``DO_NOTHING`` leaves deleting to PostgreSQL, for rows that the tenant role may not even see.
    """
    target = field.remote_field.model._meta.db_table
    cascade = "ON DELETE CASCADE " if field.remote_field.on_delete is models.DO_NOTHING else ""
    yield f'CREATE UNIQUE INDEX IF NOT EXISTS "{target}_tenant_key" ON "{target}" (workspace_id, id)'
    yield (
        f'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_{field.column}_tenant_fk" '
        f'FOREIGN KEY (workspace_id, "{field.column}") REFERENCES "{target}" (workspace_id, id) {cascade}'
        "DEFERRABLE INITIALLY IMMEDIATE"
    )


def grant_sql(table: str, grant: str) -> str:
    """Grants only where the role exists: a database whose owner may not create roles still migrates."""
    return (
        f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{TENANT_ROLE}') THEN "
        f'GRANT {grant} ON "{table}" TO {TENANT_ROLE}; END IF; END $$'
    )


CREATE_ROLE_SQL = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{TENANT_ROLE}') THEN
        CREATE ROLE {TENANT_ROLE} NOLOGIN;
    END IF;
    EXECUTE format('GRANT {TENANT_ROLE} TO %I', current_user);
EXCEPTION
    WHEN insufficient_privilege THEN RAISE WARNING 'cannot create role {TENANT_ROLE}: row-level security is off';
    WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this server made it meanwhile
END $$;
"""


_role_was_found = False


def has_tenant_role() -> bool:
    """Whether this database user may act as the restricted role; readiness reports it when not.

    Only a yes is remembered: migrations may make the role while a process already runs.
    """
    global _role_was_found
    _role_was_found = _role_was_found or look_for_tenant_role()
    return _role_was_found


def look_for_tenant_role() -> bool:
    """A role that was made after the migrations has no grants: acting as it would break every page."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname = %s AND pg_has_role(session_user, oid, 'MEMBER')"
            " AND has_table_privilege(oid, to_regclass('accounts_workspace')::oid, 'SELECT')",
            [TENANT_ROLE],
        )
        return bool(cursor.fetchone()[0])


@contextmanager
def tenant_scope(workspace: Workspace) -> Iterator[None]:
    """Run the block in one transaction that can see and change only this workspace's rows.

    Hooks given to ``transaction.on_commit`` run after it, as the owner again.
    """
    nested = connection.in_atomic_block
    with transaction.atomic():
        before = _scope_now() if nested else ("none", "")
        _set_scope(TENANT_ROLE if has_tenant_role() else "none", str(workspace.pk))
        yield
        # An enclosing transaction (a test, another scope) goes on as it was. After an error the rollback sees to it.
        if not connection.needs_rollback:
            _set_scope(*before)


@contextmanager
def beyond_workspace() -> Iterator[None]:
    """Inside a `tenant_scope`: ask something about the whole installation, such as which host has the fewest devices.

    Nothing of another workspace may leave the block.
    """
    with transaction.atomic():  # a swallowed error must not leave the rest of the scope without its wall
        before = _scope_now()
        _set_scope("none", "")
        yield
        if not connection.needs_rollback:
            _set_scope(*before)


def _scope_now() -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('role'), coalesce(current_setting('flotilla.workspace', true), '')")
        role, workspace = cursor.fetchone()
    return role, workspace


def _set_scope(role: str, workspace: str) -> None:
    """``SET LOCAL``: for the rest of the transaction, or until the savepoint is rolled back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('flotilla.workspace', %s, true), set_config('role', %s, true)", [workspace, role]
        )
