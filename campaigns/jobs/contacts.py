"""The planning queue's job that changes many contacts."""

from __future__ import annotations

from campaigns.actions.contact_changes import work_on_change


def change_contacts(change_id: int) -> None:
    work_on_change(change_id)
