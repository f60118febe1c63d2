"""The pulse: tells pages what changed, at most once a second for each campaign and device."""

from __future__ import annotations

import asyncio
import logging

from accounts.live import Update, listening, push_many
from accounts.models import Workspace
from campaigns.actions.campaigns import finish_campaigns
from campaigns.last_minute import sent_last_minute
from campaigns.live import push_campaigns
from campaigns.worker_pulse import WorkerPulse
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
        self._held: set[int] = set()
        self._workers = WorkerPulse(sent_last_minute)
        self._database = DatabaseThread("pulse")

    def touch(self, campaign: int | None, device: int | None = None, workspace: int = 0) -> None:
        """``device`` is one of ``workspace``."""
        if campaign is not None:
            self._campaigns.add(campaign)
        if device is not None:
            self._devices[device] = workspace

    def held(self, device: int) -> None:
        """WhatsApp refused its number: it is shown otherwise once that is written down, which is by the next beat."""
        self._held.add(device)

    async def run(self) -> None:
        held: set[int] = set()
        while True:
            await asyncio.sleep(BEAT_S)
            campaigns, self._campaigns = self._campaigns, set()
            devices, self._devices = self._devices, {}
            due, held, self._held = held, self._held, set()
            try:
                await self._database.run(beat, campaigns, devices, due, self._workers)
            except Exception:  # the next beat, or the page's own fetch, shows it
                logger.exception("The pages could not be told")

    def close(self) -> None:
        self._database.close()


def beat(campaigns: set[int], devices: dict[int, int], held: set[int], workers: WorkerPulse) -> None:
    """``devices``: each with its workspace's id. Only what some page may show is looked up: thousands are touched."""
    if campaigns:
        finish_campaigns(campaigns)
    listeners = listening()
    if held and listeners.to_workers() | ({0} if listeners.fleet else set()):
        push_devices(held)
    workers.beat(devices, listeners)
    watched = listeners.to_pages()
    if not watched or not (campaigns or devices):
        return
    push_campaigns(campaigns)
    push_devices(device for device, workspace in devices.items() if workspace in watched)
    workspaces = Workspace.objects.filter(pk__in=watched.intersection(devices.values()))
    push_many([Update(workspace, "home", HOME_HINT) for workspace in workspaces])
