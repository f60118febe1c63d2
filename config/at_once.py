"""A migration operation that holds others and lets Django build the models once for all of them, not once for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.migrations.operations import AddConstraint, AddField, AddIndex, CreateModel
from django.db.migrations.operations.base import Operation

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState

ADDITIONS = (AddConstraint, AddField, AddIndex)


class AtOnce(Operation):
    """Operations on models, in an order that would also do one by one, except that none alters what another one adds.

    A table is made with all that the operations give its model in the end.
    """

    reduces_to_sql = True

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations

    @property
    def reversible(self) -> bool:  # type: ignore[override]
        return all(operation.reversible for operation in self.operations)

    def describe(self) -> str:
        return "; ".join(operation.describe() for operation in self.operations)

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        vars(state).pop("apps", None)  # the models it had built: it would rebuild them after each change
        for operation in self.operations:
            operation.state_forwards(app_label, state)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for operation in self._on_tables():
            before = to_state if isinstance(operation, ADDITIONS) else from_state
            operation.database_forwards(app_label, schema_editor, before, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for operation in reversed(self._on_tables()):
            operation.database_backwards(app_label, schema_editor, from_state, to_state)

    def _on_tables(self) -> list[Operation]:
        """Without those on models that are made here: their tables come and go whole."""
        made = {operation.name_lower for operation in self.operations if isinstance(operation, CreateModel)}
        return [operation for operation in self.operations if getattr(operation, "model_name_lower", None) not in made]
