"""When a campaign that goes wrong stops by itself."""

from __future__ import annotations

from dataclasses import dataclass

LEAST = 20  # so many must have been tried, or written to, before a share of them says anything


@dataclass(frozen=True, slots=True)
class Tally:
    """``tried``: what left or was refused for good; ``failed`` of them the latter. ``sent``: people written to,
    ``opted_out`` of them afterwards.
    """

    tried: int = 0
    failed: int = 0
    sent: int = 0
    opted_out: int = 0

    def since(self, earlier: Tally) -> Tally:
        return Tally(
            max(0, self.tried - earlier.tried),
            max(0, self.failed - earlier.failed),
            max(0, self.sent - earlier.sent),
            max(0, self.opted_out - earlier.opted_out),
        )


def why_stop(tally: Tally, most_failures: int | None, most_opt_outs: int | None) -> str:
    """As a sentence; empty: no reason to. The limits are percent, None: any number."""
    if most_failures is not None and _beyond(tally.failed, tally.tried, most_failures):
        return f"{tally.failed:,} of {tally.tried:,} failed: more than {most_failures} %."
    if most_opt_outs is not None and _beyond(tally.opted_out, tally.sent, most_opt_outs):
        return f"{tally.opted_out:,} of {tally.sent:,} people opted out: more than {most_opt_outs} %."
    return ""


def _beyond(part: int, whole: int, percent: int) -> bool:
    return whole >= LEAST and 100 * part > percent * whole
