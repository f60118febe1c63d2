"""The pulse: tells pages what changed, at most once a second for each campaign and device."""

from __future__ import annotations

import asyncio
import logging

from accounts.live import Update, listening, push_many
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
        self._devices: dict[int, int] = {}
        self._database = DatabaseThread("pulse")

    def touch(self, campaign: int | None, device: int | None = None, workspace: int = 0) -> None:
        """``device`` is one of ``workspace``."""
        if campaign is not None:
            self._campaigns.add(campaign)
        if device is not None:
            self._devices[device] = workspace

    async def run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            campaigns, self._campaigns = self._campaigns, set()
            devices, self._devices = self._devices, {}
            if not campaigns and not devices:
                continue
            try:
                await self._database.run(beat, campaigns, devices)
            except Exception:  # the next beat, or the page's own fetch, shows it
                logger.exception("The pages could not be told")

    def close(self) -> None:
        self._database.close()


def beat(campaigns: set[int], devices: dict[int, int]) -> None:
    """``devices``: each with its workspace's id. Only what some page may show is looked up: thousands are touched."""
    if campaigns:
        finish_campaigns(campaigns)
    watched = listening() if devices or campaigns else set()
    if not watched:
        return
    push_campaigns(campaigns)
    push_devices(device for device, workspace in devices.items() if workspace in watched)
    workspaces = Workspace.objects.filter(pk__in=watched.intersection(devices.values()))
    push_many([Update(workspace, "home", HOME_HINT) for workspace in workspaces])
