"""The job of the imports queue."""

from __future__ import annotations

from campaigns.actions.importing import work_on_import


def run_import(import_id: int) -> None:
    work_on_import(import_id)
