"""The pulse: tells pages what changed, at most once a second for each campaign and device."""

from __future__ import annotations

import asyncio
import logging

from accounts.live import Update, push_many
from accounts.models import Workspace
from campaigns.actions.campaigns import finish_campaigns
from campaigns.live import push_campaigns
from devices.hosting.threads import DatabaseThread
from devices.live import push_devices

logger = logging.getLogger(__name__)

BEAT_S = 1.0
HOME_HINT = "monitoring/_home_hint.html"  # tells Home that it may fetch itself


class Pulse:
    """Collects what the sender touched; each beat completes what has nothing remaining and pushes the rest once."""

    def __init__(self) -> None:
        self._campaigns: set[int] = set()
        self._devices: set[int] = set()
        self._workspaces: set[int] = set()
        self._database = DatabaseThread("pulse")

    def touch(self, campaign: int | None, device: int | None = None, workspace: int | None = None) -> None:
        if workspace is not None:
            self._workspaces.add(workspace)
        if campaign is not None:
            self._campaigns.add(campaign)
        if device is not None:
            self._devices.add(device)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            campaigns, self._campaigns = self._campaigns, set()
            devices, self._devices = self._devices, set()
            workspaces, self._workspaces = self._workspaces, set()
            if not campaigns and not devices:
                continue
            try:
                await self._database.run(beat, campaigns, devices, workspaces)
            except Exception:  # the next beat, or the page's own fetch, shows it
                logger.exception("The pages could not be told")

    def close(self) -> None:
        self._database.close()


def beat(campaigns: set[int], devices: set[int], workspaces: set[int]) -> None:
    if campaigns:
        finish_campaigns(campaigns)
        push_campaigns(campaigns)
    push_devices(devices)
    hints = [Update(workspace, "home", HOME_HINT) for workspace in Workspace.objects.filter(pk__in=workspaces)]
    push_many(hints)
