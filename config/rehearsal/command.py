"""`manage.py rehearse`: seed an installation of its own, run its campaigns to the end, and compare with the ledger.

It runs before Django is set up, because the settings need the servers that it starts.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from config.rehearsal.installation import Installation, NeverHappened, new_installation
from config.rehearsal.loopback import Loopback
from config.rehearsal.measure import Meter

if TYPE_CHECKING:
    from config.rehearsal.ledger import Entry
    from config.rehearsal.world import Size

READY_WITHIN_S = 300.0
SAMPLE_S = 1.0
MEMORY_S = 5.0
LOOK_S, SELDOM_S = 0.1, 0.5
KINDS = ("web", "worker", "clock", "engine", "gateway", "simulator", "postgres", "redis")
# Functions of config/rehearsal/faults.py, which needs Django.
FAULTS = ("kill-engine", "stop-engine", "freeze-engine", "kill-gateway", "pause", "redis-away", "postgres-restart")


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
    parser.add_argument("--driver", choices=("simulator", "whatsapp"), default="simulator")
    parser.add_argument(
        "--loopback-command", metavar="COMMAND", help="what starts the stand-in for WhatsApp's servers, see loopback.py"
    )
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
    if (asked.driver == "whatsapp") != bool(asked.loopback_command):
        parser.error("the driver whatsapp is rehearsed with --loopback-command, and no other one is")
    if asked.loopback_command and asked.engines > 1:
        parser.error("the session files of real devices lie on one engine's disk: --engines 1")
    return asked


def main(argv: list[str]) -> int:
    asked = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, like Ctrl-C
    with new_installation(asked.driver) as installation:
        try:
            result = Rehearsal(asked, installation).run()
        except NeverHappened as problem:
            raise SystemExit(f"{problem}: {installation.tail()}") from None
    print(json.dumps(result))  # noqa: T201 - the last line is the command's answer
    clean = not result["audit"]["violations"] and result["audit"]["drift"] == 0
    return 0 if clean and result["ledger"]["duplicates"] == 0 else 1


class Rehearsal:
    """One run over an installation of its own."""

    def __init__(self, asked: argparse.Namespace, installation: Installation) -> None:
        self.asked = asked
        self.installation = installation
        self.meter = Meter(installation.roots)
        self.rng = random.Random(asked.seed)  # noqa: S311 - chooses whom to kill
        self.facts: list[dict[str, Any]] = []
        self.loopback = Loopback(asked.loopback_command, installation) if asked.loopback_command else None
        self.ready_s = 0.0  # from the start of all processes until every device is online
        self.idle_mb: list[float] = []  # of each gateway, before anything is sent

    def run(self) -> dict[str, Any]:
        from config.rehearsal.looking import all_planned
        from config.rehearsal.world import build

        self.say("seeding")
        phones = self.start_network()
        campaigns = build(self.size(), self.asked.driver, phones)
        self.hand_over_sessions(phones)
        self.start_processes()
        started = time.time()
        self.say("planning")
        plan_paused(campaigns)
        self.wait_for("the plans", all_planned)
        self.wait_for("the devices", self.installation.everybody_online)
        self.ready_s = round(time.time() - started, 1)
        self.idle_mb = self.meter.now_mb("gateway")
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

    def start_network(self) -> list[str]:
        """The simulated one; or the stand-in for WhatsApp's servers, and the numbers that are linked there."""
        if self.loopback is None:
            self.installation.start_network("--ack-ms", str(self.asked.ack_ms), "--seed", str(self.asked.seed))
            return []
        self.loopback.start()
        self.say("linking")
        return self.loopback.link(self.asked.devices, self.installation.disk(0))

    def hand_over_sessions(self, phones: list[str]) -> None:
        """Each device finds its session under its own name."""
        from devices.models import Device

        disk = self.installation.disk(0)
        of_phone = dict(Device.objects.values_list("phone", "pk"))
        for place, phone in enumerate(phones, start=1):
            (disk / f"whatsapp-{place}.session").rename(disk / f"linked-{of_phone[phone]}")
        for pk in of_phone.values() if phones else ():
            (disk / f"linked-{pk}").rename(disk / f"whatsapp-{pk}.session")

    def start_processes(self) -> None:
        self.installation.start_office()
        environment = self.loopback.environment if self.loopback else {}
        for number in range(self.asked.engines):
            self.installation.start_engine(number, **environment)
        self.installation.on_tick = self.check_processes

    def entries(self) -> list[Entry]:
        from config.rehearsal.ledger import read_ledger
        from config.rehearsal.loopback import read_decrypted
        from devices.models import Device

        if self.loopback is None:
            return read_ledger(self.installation.ledger)
        of_phone = {phone[1:]: pk for phone, pk in Device.objects.values_list("phone", "pk") if phone}
        return read_decrypted(self.installation.ledger, of_phone)

    def check_processes(self) -> None:
        """Whatever ended by itself ends the rehearsal: only a fault may end a process."""
        for program, code in self.installation.ends:
            raise SystemExit(f"the {program.kind} process ended with {code}: {self.installation.tail()}")

    def wait_for(self, what: str, condition: Any) -> None:
        self.installation.until(what, condition, READY_WITHIN_S)

    # ------------------------------------------------------------------ watching

    def watch(self, launched: float) -> float:
        """Until nothing remains; returns the seconds from the launch to the last settle."""
        from config.rehearsal.looking import remaining

        faults = self.faults()
        sampled = measured = 0.0
        while (left := remaining()) > 0:
            if time.time() - launched > self.asked.within:
                raise NeverHappened(f"{left} messages remain after {self.asked.within:.0f} s")
            if faults and left <= faults[0][0]:
                self.happen(faults.pop(0)[1], left)
            if time.time() - sampled >= SAMPLE_S:
                sampled = time.time()
                self.meter.sample(memory=sampled - measured >= MEMORY_S)
                measured = sampled if sampled - measured >= MEMORY_S else measured
                self.say(f"{left} remain")
            # Looking costs PostgreSQL time that counts as the installation's: seldom, until a fault or the end is near.
            self.installation.let_pass(LOOK_S if faults or left < self.asked.messages / 10 else SELDOM_S)
        return time.time() - launched

    def faults(self) -> list[tuple[int, str]]:
        """(how many messages remain, what happens then): spread evenly over the run."""
        names = [*["kill-engine"] * self.asked.kill_engine, *self.asked.fault]
        parts = len(names) + 1
        return [(self.asked.messages * (parts - 1 - place) // parts, name) for place, name in enumerate(names)]

    def happen(self, name: str, left: int) -> None:
        from config.rehearsal import faults

        self.say(f"{left} remain: {name}")
        self.meter.sample(memory=False)
        fault = getattr(faults, name.replace("-", "_"))
        self.facts.append({"fault": name, **fault(self.installation, self.rng)})

    def result(self, launched: float, seconds: float) -> dict[str, Any]:
        from config.rehearsal.ledger import compare
        from config.rehearsal.looking import all_ended, heartbeats_since, limits
        from monitoring.invariants import audit

        self.wait_for("the campaigns' ends", all_ended)
        audited = audit()
        verdict, delays, pace_errors = compare(self.entries(), launched)
        self.wait_for("the hosts' next heartbeats", heartbeats_since(time.time()))
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
            "pace_error_ms": pace_errors,
            "ready_s": self.ready_s,
            "idle_gateways_mb": [round(megabytes) for megabytes in self.idle_mb],
            "limits": limits(),
            "ledger": verdict,
            "audit": audited,
        }
        if self.facts:
            result["faults"] = self.facts
        return result

    def say(self, line: str) -> None:
        if not self.asked.json:
            print(line, file=sys.stderr)  # noqa: T201


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
