"""The planning queue's job that moves people from one device to another."""

from __future__ import annotations

from campaigns.actions.contact_moves import work_on_move


def move_people(move_id: int) -> None:
    work_on_move(move_id)
