"""A whole installation at work for benchmarks: simulated devices that send at a steady rate, and a web on a port."""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from config.rehearsal.command import launch, plan_paused
from config.rehearsal.installation import Installation, Program, new_installation

READY_WITHIN_S = 300.0
DEVICES_A_WORKSPACE = 15


@dataclass
class BusyFleet:
    installation: Installation
    web: Program
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keep_up(self, seconds: float) -> None:
        self.installation.let_pass(seconds)
        for program, code in self.installation.ends:
            raise SystemExit(f"the {program.kind} process ended with {code}: {self.installation.tail()}")


@contextmanager
def busy_fleet(devices: int, rate: float, seconds: float) -> Iterator[BusyFleet]:
    """``rate``: messages a second of all together, for at least so many seconds."""
    with new_installation() as installation:
        from campaigns.actions.planning import plan_chunk
        from config.rehearsal.world import Size, build

        gap = devices / rate
        workspaces = math.ceil(devices / DEVICES_A_WORKSPACE)
        say("making the world")
        campaigns = build(Size(workspaces, devices, math.ceil(rate * (seconds + 120)), gap * 0.9, gap * 1.1))
        installation.start_network("--ack-ms", "50", "--seed", "1")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        daphne = ["-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "config.asgi:application"]
        web = installation.start("web", [sys.executable, *daphne])
        for queues in (("clock", "planning", "webhooks"), ("imports", "exports")):
            installation.start("worker", [sys.executable, "manage.py", "work", *queues])
        installation.start_clock()
        installation.start_engine(0)
        say("planning and connecting")
        plan_paused(campaigns)
        for campaign in campaigns:  # here, and not in a worker, which forks for each
            while not plan_chunk(campaign.pk):
                pass
        installation.until("the devices", installation.everybody_online, READY_WITHIN_S)
        launch(campaigns)
        installation.next_message()
        yield BusyFleet(installation, web, port)


def session_of(user: Any) -> str:
    """The cookie of somebody who is signed in."""
    from django.test import Client

    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def staff() -> Any:
    from accounts.models import User

    return User.objects.create(email=f"staff{time.time_ns()}@rehearsal.invalid", is_staff=True)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
