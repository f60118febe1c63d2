"""What processes cost: CPU seconds and proportional memory, by kind, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

TICK = os.sysconf("SC_CLK_TCK")
FREE = ("simulator", "loopback")  # the network is the world outside: its CPU is nobody's cost


def children_of(pids: Iterable[int]) -> dict[int, list[int]]:
    """The processes below each of these, at any depth."""
    below: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := read_stat(int(entry))):
            below.setdefault(int(stat[1]), []).append(int(entry))
    return {pid: _descend(pid, below) for pid in pids}


def _descend(pid: int, below: dict[int, list[int]]) -> list[int]:
    found: list[int] = []
    waiting = list(below.get(pid, []))
    while waiting:
        child = waiting.pop()
        found.append(child)
        waiting += below.get(child, [])
    return found


def read_stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name: state, parent … (man 5 proc); None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def parent_of(pid: int) -> int:
    stat = read_stat(pid)
    if stat is None:
        raise ProcessLookupError(pid)
    return int(stat[1])


def cpu_s(pid: int) -> float:
    """User and system time of the process and of its children that ended."""
    stat = read_stat(pid)
    return sum(int(ticks) for ticks in stat[11:15]) / TICK if stat else 0.0


def pss_mb(pid: int) -> float:
    """Proportional set size: shared pages count in parts, so that a sum over processes is honest."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


@dataclass
class Meter:
    """Follows kinds of processes. ``roots``: pid → kind; ``kinds_of_children`` renames what a kind's children are."""

    roots: dict[int, str] = field(default_factory=dict)
    kinds_of_children: dict[str, str] = field(default_factory=lambda: {"engine": "gateway"})
    peak_mb: dict[str, float] = field(default_factory=dict)
    _spent: dict[int, tuple[str, float]] = field(default_factory=dict)
    _begun: dict[int, float] = field(default_factory=dict)

    def processes(self) -> dict[int, str]:
        found = dict(self.roots)
        for root, below in children_of(self.roots).items():
            kind = self.kinds_of_children.get(self.roots[root], self.roots[root])
            found.update(dict.fromkeys(below, kind))
        return found

    def begin(self) -> None:
        """From here on CPU counts."""
        self._begun = {pid: cpu_s(pid) for pid in self.processes()}
        self._spent.clear()

    def now_mb(self, kind: str) -> list[float]:
        """What each process of this kind takes at the moment."""
        return [pss_mb(pid) for pid, of in self.processes().items() if of == kind]

    def sample(self, *, memory: bool = True) -> None:
        """Note every process's CPU so far, and the memory peaks."""
        memory_now: dict[str, float] = {}
        for pid, kind in self.processes().items():
            self._spent[pid] = (kind, cpu_s(pid) - self._begun.get(pid, 0.0))
            if memory:
                memory_now[kind] = memory_now.get(kind, 0.0) + pss_mb(pid)
        for kind, megabytes in memory_now.items():
            self.peak_mb[kind] = max(self.peak_mb.get(kind, 0.0), megabytes)

    def cpu_by_kind(self) -> dict[str, float]:
        """CPU seconds since `begin`, but for the network."""
        spent: dict[str, float] = {}
        for kind, seconds in self._spent.values():
            if kind not in FREE:
                spent[kind] = spent.get(kind, 0.0) + seconds
        return spent
