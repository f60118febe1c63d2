"""What a gateway's word means for the message: the one table (DESIGN 4)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from campaigns.engine import lifecycle, pacing

# Reasons that lie with the device's connection: the message waits without having used up a try.
OFFLINE_REASONS = (
    "not connected",
    "websocket not connected",
    "no session",
    "session in use",
    "stale epoch",
    "not open",
    "lease ran out",
)
# WhatsApp's temporary refusals; every other number is for good.
RETRIED_CODES = frozenset({408, 429, 500, 502, 503, 504})
OFFLINE_PAUSE_S = 5.0
FILE_PAUSE_S = 3.0
DEATHS = 3  # in flight when its gateway died, this often: the message itself may be what kills


@dataclass(frozen=True, slots=True)
class Verdict:
    """The message's next state. ``retry_in``: seconds, for waiting. ``counts``: a try was used up.

    ``refund``: it was definitely not sent, so the device's caps get it back. ``died``: its gateway died with it.
    """

    state: str
    reason: str = ""
    retry_in: float | None = None
    refund: bool = False
    counts: bool = False
    died: bool = False


def sent() -> Verdict:
    return Verdict(lifecycle.SENT)


def unknown(why: str) -> Verdict:
    return Verdict(lifecycle.UNCERTAIN, why)


def gateway_died(deaths: int) -> Verdict:
    """``deaths``: gateways that died with this message before."""
    if deaths + 1 >= DEATHS:
        return Verdict(lifecycle.DEAD, f"gateway died {DEATHS} times while sending it", died=True)
    return Verdict(lifecycle.UNCERTAIN, "gateway died", died=True)


def not_sent(why: str, tries: int, rng: Random) -> Verdict:
    if why.startswith(OFFLINE_REASONS):
        return Verdict(lifecycle.WAITING, why, OFFLINE_PAUSE_S, refund=True)
    return _again(why, tries, rng, refund=True)


def refused(why: str, code: int, tries: int, rng: Random) -> Verdict:
    reason = f"refused {code}: {why}" if why else f"refused {code}"
    if code in RETRIED_CODES:
        return _again(reason, tries, rng, refund=False)
    return Verdict(lifecycle.DEAD, reason, counts=True)


def template_error(problem: str) -> Verdict:
    return Verdict(lifecycle.DEAD, f"template: {problem}", refund=True)


def file_not_here() -> Verdict:
    """The host is still fetching the message's file: no try was used up."""
    return Verdict(lifecycle.WAITING, "its file is being fetched", FILE_PAUSE_S, refund=True)


def _again(reason: str, tries: int, rng: Random, *, refund: bool) -> Verdict:
    """``tries`` were used up before this one."""
    if tries + 1 >= pacing.TRIES:
        return Verdict(lifecycle.DEAD, reason, refund=refund, counts=True)
    return Verdict(lifecycle.WAITING, reason, pacing.retry_in(tries + 1, rng), refund=refund, counts=True)
