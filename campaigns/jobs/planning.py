"""Jobs of the planning queue and the clock's timetable."""

from __future__ import annotations

from campaigns.actions.campaigns import finish_campaigns, start_due_campaigns
from campaigns.actions.planning import plan_whole
from campaigns.actions.reconcile import reconcile
from campaigns.actions.warming import climb
from campaigns.actions.watching import pause_failing


def plan_campaign(campaign_id: int) -> None:
    plan_whole(campaign_id)


def start_due() -> None:
    start_due_campaigns()


def finish() -> None:
    finish_campaigns()


def watch() -> None:
    pause_failing()


def reconcile_all() -> None:
    reconcile()


def climb_warm_up() -> None:
    climb()
