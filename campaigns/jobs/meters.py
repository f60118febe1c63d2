"""Jobs that bring meters into PostgreSQL and keep them few."""

from __future__ import annotations

from campaigns.actions.meters import prune_meters, roll_up


def roll() -> None:
    roll_up()


def prune() -> None:
    prune_meters()
