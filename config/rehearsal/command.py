"""`manage.py rehearse`: seed an installation of its own, run its campaigns to the end, and compare with the ledger.

It runs before Django is set up, because the settings need the servers that it starts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.embedded import temporary_servers, tethered
from config.rehearsal.faults import FAULTS, online
from config.rehearsal.measure import Meter, parent_of

if TYPE_CHECKING:
    from config.rehearsal.world import Size

PROJECT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 300
SAMPLE_S = 1.0
LOOK_S = 0.1
KINDS = ("web", "worker", "clock", "engine", "gateway", "simulator", "postgres", "redis")


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="manage.py rehearse", description=__doc__)
    parser.add_argument("--json", action="store_true", help="say nothing but the result, one JSON object")
    parser.add_argument("--workspaces", type=int, help="default: devices / 15; one campaign each")
    parser.add_argument("--devices", type=int, default=30)
    parser.add_argument("--messages", type=int, default=1_000)
    parser.add_argument("--min-delay", type=float, default=0.0, help="seconds")
    parser.add_argument("--max-delay", type=float, default=0.0, help="seconds")
    parser.add_argument("--ack-ms", type=float, default=20.0)
    parser.add_argument("--engines", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill-engine", type=int, default=0, metavar="TIMES", help="kill -9 an engine this often")
    parser.add_argument("--fault", action="append", default=[], choices=FAULTS, help="happens during the run; repeat")
    parser.add_argument("--within", type=float, default=3_600, help="seconds; longer is a failure")
    asked = parser.parse_args(argv)
    asked.workspaces = asked.workspaces or max(1, math.ceil(asked.devices / 15))
    if min(asked.devices, asked.messages, asked.engines) < 1 or asked.max_delay < asked.min_delay:
        parser.error("there must be devices, messages and engines, and the longest delay is at least the shortest")
    if asked.workspaces > asked.devices:
        parser.error("every workspace needs a device")
    return asked


def main(argv: list[str]) -> int:
    asked = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, like Ctrl-C
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flotilla-rehearsal-")))
        servers = cleanup.enter_context(temporary_servers())
        os.environ.update(
            servers,
            ENV_FILE="",
            SECRET_KEY=secrets.token_urlsafe(48),
            VAR_DIR=str(folder),
            SESSIONS_DIR=str(folder / "sessions"),
            SIMULATOR_SOCKET=str(folder / "network"),
            SIMULATOR_CONTROL=str(folder / "phones"),
            STATIC_MANIFEST="0",
            DRIVERS="simulator",
            DJANGO_SETTINGS_MODULE="config.settings",
        )
        import django

        django.setup()
        result = Rehearsal(asked, folder, cleanup).run()
    print(json.dumps(result))  # noqa: T201 - the last line is the command's answer
    clean = not result["audit"]["violations"] and result["audit"]["drift"] == 0
    return 0 if clean and result["ledger"]["duplicates"] == 0 else 1


class Rehearsal:
    """One run. Everything started is stopped by ``cleanup``, whatever happens."""

    def __init__(self, asked: argparse.Namespace, folder: Path, cleanup: ExitStack) -> None:
        self.asked = asked
        self.folder = folder
        self.cleanup = cleanup
        self.servers = cleanup.enter_context(ExitStack())  # those a fault starts anew: they end after their users
        self.meter = Meter()
        self.rng = random.Random(asked.seed)  # noqa: S311 - chooses whom to kill
        self.engines: list[subprocess.Popen[bytes]] = []
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self.facts: list[dict[str, Any]] = []
        self.logs = (folder / "log").open("ab")

    def run(self) -> dict[str, Any]:
        from django.core.management import call_command

        from config.rehearsal.world import build

        call_command("migrate", verbosity=0)
        self.say("seeding")
        campaigns = build(self.size())
        self.start_processes()
        self.say("planning")
        plan_paused(campaigns)
        self.wait_for("the plans", lambda: all_planned(len(campaigns)))
        self.wait_for("the devices", lambda: online() == self.asked.devices)
        self.meter.begin()
        launched = time.time()
        launch(campaigns)
        self.say("sending")
        seconds = self.watch(launched)
        self.meter.sample()
        return self.result(launched, seconds)

    def size(self) -> Size:
        from config.rehearsal.world import Size

        asked = self.asked
        return Size(asked.workspaces, asked.devices, asked.messages, asked.min_delay, asked.max_delay)

    # ------------------------------------------------------------------ processes

    def start_processes(self) -> None:
        self.follow_servers()
        manage = [sys.executable, str(PROJECT / "manage.py")]
        sockets = ["--socket", os.environ["SIMULATOR_SOCKET"], "--control", os.environ["SIMULATOR_CONTROL"]]
        behaviour = ["--ack-ms", str(self.asked.ack_ms), "--seed", str(self.asked.seed), *QUIET_PEOPLE]
        network = ["-m", "devices.gateway.simulator", "--network", *sockets, "--ledger", str(self.ledger)]
        self.start("simulator", [sys.executable, *network, *behaviour])
        self.start("web", [sys.executable, "-m", "daphne", "-u", str(self.folder / "web"), "config.asgi:application"])
        self.start("worker", [*manage, "work", "clock", "planning", "webhooks"])
        self.start("worker", [*manage, "work", "imports", "exports"])
        self.start("clock", [*manage, "run_clock"])
        self.engines = [self.start_engine(number) for number in range(self.asked.engines)]

    def start_engine(self, number: int) -> subprocess.Popen[bytes]:
        manage = [sys.executable, str(PROJECT / "manage.py")]
        return self.start("engine", [*manage, "run_engine"], SESSIONS_DIR=str(self.folder / f"sessions{number}"))

    def start(self, kind: str, argv: list[str], **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            tethered(argv), cwd=PROJECT, env={**os.environ, **environment}, stdout=self.logs, stderr=self.logs
        )
        self.meter.roots[process.pid] = kind
        self.started[kind] = process
        self.cleanup.callback(end, process)
        return process

    def follow_servers(self) -> None:
        from django.db import connection
        from django_rq import get_connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            postmaster = parent_of(cursor.fetchone()[0])
        self.meter.roots[postmaster] = "postgres"
        self.meter.roots[get_connection("clock").info("server")["process_id"]] = "redis"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.log"

    # ------------------------------------------------------------------ watching

    def watch(self, launched: float) -> float:
        """Until nothing remains; returns the seconds from the launch to the last settle."""
        faults = self.faults()
        sampled = 0.0
        while (left := remaining()) > 0:
            if time.time() - launched > self.asked.within:
                raise SystemExit(f"{left} messages remain after {self.asked.within:.0f} s: {self.tail()}")
            self.check_processes()
            if faults and left <= faults[0][0]:
                _, name = faults.pop(0)
                self.say(f"{left} remain: {name}")
                self.facts.append({"fault": name, **FAULTS[name](self)})
            if time.time() - sampled >= SAMPLE_S:
                sampled = time.time()
                self.meter.sample()
                self.say(f"{left} remain")
            time.sleep(LOOK_S)
        return time.time() - launched

    def faults(self) -> list[tuple[int, str]]:
        """(how many messages remain, what happens then): spread evenly over the run."""
        names = [*["kill-engine"] * self.asked.kill_engine, *self.asked.fault]
        parts = len(names) + 1
        return [(self.asked.messages * (parts - 1 - place) // parts, name) for place, name in enumerate(names)]

    def replace_engine(self, number: int) -> None:
        """Start an engine in the place, and on the disk, of one that ended."""
        self.meter.roots.pop(self.engines[number].pid)
        self.engines[number] = self.start_engine(number)

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        until = time.time() + READY_WITHIN_S
        while not condition():
            self.check_processes()
            if time.time() > until:
                raise SystemExit(f"{what} were not ready within {READY_WITHIN_S} s: {self.tail()}")
            time.sleep(LOOK_S)

    def check_processes(self) -> None:
        for kind, process in self.started.items():
            if process.poll() is not None:
                raise SystemExit(f"the {kind} process ended: {self.tail()}")

    def result(self, launched: float, seconds: float) -> dict[str, Any]:
        from config.rehearsal.ledger import compare, read_ledger
        from monitoring.invariants import audit

        self.wait_for("the campaigns' ends", all_completed)
        audited = audit()
        verdict, delays = compare(read_ledger(self.ledger), launched)
        sent = sum(audited["counts"][state] for state in ("sent", "delivered", "read"))
        cpu = self.meter.cpu_by_kind()
        result = {
            "messages": self.asked.messages,
            "sent": sent,
            "seconds": round(seconds, 2),
            "rate_per_s": round(self.asked.messages / seconds),
            "cpu_s_per_1000": round(sum(cpu.values()) * 1000 / self.asked.messages, 3),
            "cpu_s": {kind: round(cpu.get(kind, 0.0), 2) for kind in KINDS if kind in cpu},
            "rss_mb": {kind: round(self.meter.peak_mb.get(kind, 0.0)) for kind in KINDS},
            "due_to_wire_ms": delays,
            "ledger": verdict,
            "audit": audited,
        }
        if self.facts:
            result["faults"] = self.facts
        return result

    def tail(self) -> str:
        self.logs.flush()
        return (self.folder / "log").read_text(errors="replace")[-2_000:]

    def say(self, line: str) -> None:
        if not self.asked.json:
            print(line, file=sys.stderr)  # noqa: T201


# People who neither answer nor refuse: a rehearsal ends with sent = messages.
QUIET_PEOPLE = ["--jitter-ms", "0", "--reply-share", "0", "--stop-share", "0"]


def plan_paused(campaigns: list[Any]) -> None:
    """Start and pause each: it is planned completely before anything leaves."""
    from campaigns.actions.campaigns import launch_campaign, pause_campaign

    for campaign in campaigns:
        launch_campaign(campaign, None)
        pause_campaign(campaign, None)


def launch(campaigns: list[Any]) -> None:
    from campaigns.actions.campaigns import resume_campaign

    for campaign in campaigns:
        campaign.refresh_from_db()
        resume_campaign(campaign, None)


def all_planned(campaigns: int) -> bool:
    from campaigns.models import Campaign

    return Campaign.objects.filter(planned_at__isnull=False).count() == campaigns


def all_completed() -> bool:
    from campaigns.models import Campaign

    return not Campaign.objects.exclude(state="completed").exists()


def remaining() -> int:
    from campaigns.models import Stream

    return Stream.objects.totals()["remaining"]


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(12)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
