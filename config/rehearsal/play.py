"""One scenario on the running installation: a world and engines of its own, what happens, and the verdict."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accounts.models import Workspace
from campaigns.actions.campaigns import launch_campaign
from campaigns.models import Campaign, Contact, Stream
from config.rehearsal import looking, world
from config.rehearsal.checker import EXAMPLES, Silence, check, read_books
from config.rehearsal.faults import Facts
from config.rehearsal.installation import Installation, NeverHappened
from config.rehearsal.ledger import read_ledger
from config.rehearsal.world import Size
from devices.models import Device
from monitoring.invariants import audit

READY_WITHIN_S = 90.0
BUSY_LOOK_S = 0.3

# As in the tests: a dead host's devices are free after 6 s instead of 30.
SHORT_LEASES = {"LEASE_TTL": "6", "LEASE_RENEW": "2", "LEASE_STOP_AFTER": "4", "LEASE_EXIT_AFTER": "5"}
LITTLE = Size(workspaces=4, devices=40, messages=160, min_delay=0.2, max_delay=0.4)
End = tuple[str, int]
FENCED: End = ("engine", 75)
DIED_AT_FAULT_POINT: End = ("engine", 137)


@dataclass(frozen=True)
class Scenario:
    """``busy``: new campaigns are started whenever fewer messages remain, 0: never; ``may_end``: processes that end by
    themselves on purpose; ``fault_points``: for each engine, in order, its ``FAULT``."""

    name: str
    act: Callable[[Play], Facts]
    size: Size = LITTLE
    busy: int = 120
    engines: int = 2
    clocks: int = 1
    network: tuple[str, ...] = ("--ack-ms", "50")
    environment: Mapping[str, str] = field(default_factory=lambda: SHORT_LEASES)
    fault_points: tuple[str, ...] = ()
    may_end: tuple[End, ...] = ()
    finish_within_s: float = 90.0


class Play:
    """What a scenario works with. ``broken``: what its own expectations found."""

    def __init__(self, scenario: Scenario, installation: Installation, seed: int) -> None:
        self.scenario = scenario
        self.installation = installation
        self.rng = random.Random(f"{seed} {scenario.name}")  # noqa: S311 - chooses victims and moments
        self.seed = seed
        self.people: dict[int, int] = {}
        self.silences: list[Silence] = []
        self.broken: dict[str, list[str]] = {}
        self._looked = 0.0

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        facts: Facts = {}
        try:
            self.set_up()
            facts["ready_s"] = round(time.monotonic() - began, 1)
            facts |= self.scenario.act(self)
            acted = time.monotonic()
            self.finish()
            facts["finished_s"] = round(time.monotonic() - acted, 1)
        except NeverHappened as problem:
            self.broken["never_happened"] = [str(problem)]
        self.installation.on_tick = None
        return self.verdict(facts, time.monotonic() - began)

    # ------------------------------------------------------------------ before and after

    def set_up(self) -> None:
        """Only engines, clocks and the network are new; the office goes on."""
        installation, scenario = self.installation, self.scenario
        clocks = installation.of_kind("clock")[1:]
        installation.retire([*installation.engines, *installation.of_kind("simulator"), *clocks])
        installation.at_risk.clear()
        installation.ends.clear()
        world.clear()
        for campaign in world.build(scenario.size):
            self.people[campaign.pk] = people_of(campaign.workspace)
        ledger = f"{scenario.name}.log"
        installation.start_network("--seed", str(self.seed), *scenario.network, ledger=ledger)
        for number in range(scenario.engines):
            fault = {"FAULT": scenario.fault_points[number]} if scenario.fault_points else {}
            installation.start_engine(number, **scenario.environment, **fault)
        for _ in range(scenario.clocks - 1):
            installation.start_clock()
        if not scenario.fault_points:
            installation.until("the devices", self.shared_evenly, READY_WITHIN_S)

    def shared_evenly(self) -> bool:
        """Every device online, and each host with as many as the others (P6)."""
        shares = looking.devices_of_hosts()
        even = len(shares) == self.scenario.engines and max(shares) - min(shares) <= 1
        return even and self.installation.everybody_online()

    def launch(self) -> None:
        """Start every campaign there is, and see to it that there is always something to send."""
        for campaign in Campaign.objects.filter(state="draft"):
            launch_campaign(campaign, None)
        self.installation.next_message()
        if self.scenario.busy:
            self.installation.on_tick = self._keep_busy
        else:
            self.installation.until("the plans", looking.all_planned)

    def _keep_busy(self) -> None:
        if time.monotonic() - self._looked < BUSY_LOOK_S:
            return
        self._looked = time.monotonic()
        workspaces = Workspace.objects.order_by("pk")
        least = self.scenario.busy / self.scenario.size.workspaces
        planning = set(Campaign.objects.filter(state="running", planned_at=None).values_list("workspace_id", flat=True))
        left: Counter[int] = Counter()
        for stream in Stream.objects.filter(running=True):
            left[stream.workspace_id] += stream.pending + stream.waiting
        for workspace in workspaces:
            if workspace.pk not in planning and left[workspace.pk] < least:
                launch_campaign(self.new_campaign(workspace), None)

    def new_campaign(self, workspace: Workspace) -> Campaign:
        devices = list(Device.objects.for_workspace(workspace))
        campaign = world.make_campaign(workspace, devices)
        self.people[campaign.pk] = people_of(workspace)
        return campaign

    def finish(self) -> None:
        """Let everything that was started come to its end."""
        self.installation.on_tick = None

        def over() -> bool:
            return looking.all_planned() and looking.remaining() == 0 and looking.all_ended()

        self.installation.until("the end of every campaign", over, self.scenario.finish_within_s)

    # ------------------------------------------------------------------ judging

    def expect(self, name: str, kept: bool, seen: object = "") -> None:
        """A rule of this scenario's own."""
        if not kept:
            self.broken.setdefault(name, []).append(str(seen))

    def verdict(self, facts: Facts, seconds: float) -> dict[str, Any]:
        installation = self.installation
        installation.until("PostgreSQL's answer", looking.postgres_answers)
        entries = read_ledger(installation.ledger)
        books = read_books(entries, self.people, installation.at_risk, self.silences)
        audited = audit()
        ends = Counter((program.kind, code) for program, code in installation.ends)
        found = {**self.broken, **check(books)}
        for end in ends.keys() - set(self.scenario.may_end):
            found["ended_by_itself"] = [*found.get("ended_by_itself", []), *[f"{end[0]}: {end[1]}"] * ends[end]]
        counts = {name: len(examples) for name, examples in found.items()}
        for violation in audited["violations"]:
            found[f"audit: {violation['what']}"] = violation["which"]
            counts[f"audit: {violation['what']}"] = violation["count"]
        states = {state: count for state, count in audited["counts"].items() if count}
        told = {"in_ledger": len(entries), "open_at_faults": len(installation.at_risk), "states": states}
        return {
            "scenario": self.scenario.name,
            "seconds": round(seconds, 1),
            "messages": len(books.messages),
            "facts": {**told, **facts},
            "violations": counts,
            "examples": {name: examples[:EXAMPLES] for name, examples in found.items()},
            "clean": not found,
        }


def people_of(workspace: Workspace) -> int:
    return Contact.objects.for_workspace(workspace).count()


def slowest(facts: list[Facts], name: str) -> float:
    return max((one[name] for one in facts), default=0.0)
