"""The parts of an installation and what is said of them, in words for people who send messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

OK, WARN, BAD, UNKNOWN = "ok", "warn", "bad", "unknown"
GRAVITY = {OK: 0, UNKNOWN: 1, WARN: 2, BAD: 3}
# A state as pages show it: (word, colour).
SHOWN = {
    OK: ("Works", "green"),
    WARN: ("Needs a look", "amber"),
    BAD: ("Does not work", "red"),
    UNKNOWN: ("Nobody knows", "grey"),
}


class Part(NamedTuple):
    """``meanwhile``: what works and what does not while it is bad. ``concerns``: whether users notice."""

    title: str
    meanwhile: str
    concerns: bool


# The gravest first.
PARTS = {
    "database": Part(
        "Pages and data",
        "No page can be saved and nothing new is sent; nothing is lost. It goes on by itself.",
        True,
    ),
    "engines": Part(
        "Sending",
        "Messages wait and leave later, each once. Pages, imports and planning work.",
        True,
    ),
    "gateways": Part(
        "Connections to WhatsApp",
        "The devices concerned are offline and their messages wait. The engine keeps starting gateways.",
        True,
    ),
    "clock": Part(
        "Timetable",
        "Campaigns planned for a time do not start, and nothing is tidied up. What runs goes on sending.",
        True,
    ),
    "workers": Part(
        "Background work",
        "What you start is kept and done when they are back. What runs goes on sending.",
        True,
    ),
    "redis": Part(
        "Redis",
        "Sending goes on: engines look for due work every 5 s. Pages do not update by themselves, "
        "pairing codes can't be shown, and imports and planning wait.",
        True,
    ),
    "live": Part(
        "Live pages",
        "Pages show what was true when they were loaded; reload them. Sending goes on.",
        True,
    ),
    "queues": Part(
        "Work that waits",
        "Imports, exports and planning take longer than they should. Sending goes on.",
        False,
    ),
    "disk": Part(
        "Room on the disk",
        "Everything works until it is full; then nothing can be saved or sent.",
        False,
    ),
    "ledger": Part(
        "Every message accounted for",
        "Sending goes on. Figures of the campaigns concerned may be wrong until staff have looked.",
        False,
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a part. ``sentence`` is for everybody and names no machine; ``value`` is for staff.

    ``away``: it gave no answer at all, and whoever asks it anything waits in vain. ``slow``: its answer did not come
    in time, which a busy machine explains as well.
    """

    part: str
    state: str
    sentence: str
    value: str = ""
    away: bool = False
    slow: bool = False

    @property
    def title(self) -> str:
        return PARTS[self.part].title

    @property
    def meanwhile(self) -> str:
        return PARTS[self.part].meanwhile if self.state in (WARN, BAD) else ""

    @property
    def word(self) -> str:
        return SHOWN[self.state][0]

    @property
    def colour(self) -> str:
        return SHOWN[self.state][1]


@dataclass(frozen=True, slots=True)
class Look:
    """All parts at one time, in the order of `PARTS`."""

    at: datetime
    findings: tuple[Finding, ...]

    def of(self, part: str) -> Finding:
        return next(finding for finding in self.findings if finding.part == part)

    def is_bad(self, part: str) -> bool:
        return self.of(part).state == BAD

    def is_away(self, part: str) -> bool:
        return self.of(part).away

    def steadied(self, before: Look | None) -> Look:
        """What is slow once is shown as it was in the look before."""
        if before is None:
            return self
        steady = (before.of(one.part) if one.slow and not before.of(one.part).slow else one for one in self.findings)
        return Look(self.at, tuple(steady))

    @property
    def worst(self) -> str:
        return max((finding.state for finding in self.findings), key=GRAVITY.__getitem__)

    @property
    def concerning(self) -> list[Finding]:
        """What users notice now, the gravest part first. What Redis carries is away with it and not named again."""
        bad = [finding for finding in self.findings if finding.state == BAD and PARTS[finding.part].concerns]
        return [finding for finding in bad if not (finding.part == "live" and self.is_bad("redis"))]
