"""What a gateway's word means for the message: the one table (docs/engine.md)."""

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
# What WhatsApp's numbers mean as the answer to a message; every other one is for good. WhatsApp documents none of them:
# the names are those of its own web client, the rest is what users of whatsmeow and Baileys report.
#
#   408, 500, 502, 503, 504  the server's own trouble
#   479 SmaxInvalid          the stanza did not hold together, mostly for a stale device session; passes when sent again
#                            (whatsmeow 690, 922; asternic/wuzapi 95)
#   400, 403                 this person, for an hour or two; then the same message goes (whatsmeow 679, 1149)
#   429 rate-overlimit       the number asks too much in a short time (Baileys 797, 1061)
#   463 ReachoutTimelocked   the number may write to nobody new for hours or days; the answer does not say how long. Now
#                            and then it is about one person only (Baileys 2441; whatsmeow 1074, 1197)
#   475 NewChatMessagesCapped  the number has used up its month's new chats (so WhatsApp Web tells its user)
SOON = frozenset({408, 479, 500, 502, 503, 504})
LATER = frozenset({400, 403})
LATER_S = (3_600.0, 7_200.0)
HOUR = 3_600.0
# The number is refused, and not the message: its device holds for the first time, doubled with each repeat up to the
# last.
HOLDS = {429: (HOUR / 4, 6 * HOUR), 463: (6 * HOUR, 24 * HOUR), 475: (6 * HOUR, 24 * HOUR)}
OFFLINE_PAUSE_S = 5.0
FILE_PAUSE_S = 3.0
GATEWAY_DIED = "gateway died"
DEATHS = 3  # in flight when its gateway died, this often: the message itself may be what kills


@dataclass(frozen=True, slots=True)
class Verdict:
    """The message's next state. ``retry_in``: seconds, for waiting. ``counts``: a try was used up.

    ``refund``: it was definitely not sent, so the device's caps get it back. ``died``: its gateway died with it.
    ``hold``: seconds in which the device sends nothing, since its number was refused.
    """

    state: str
    reason: str = ""
    retry_in: float | None = None
    refund: bool = False
    counts: bool = False
    died: bool = False
    hold: float | None = None


def sent() -> Verdict:
    return Verdict(lifecycle.SENT)


def unknown(why: str) -> Verdict:
    return Verdict(lifecycle.UNCERTAIN, why)


def gateway_died(deaths: int) -> Verdict:
    """``deaths``: gateways that died with this message before."""
    if deaths + 1 >= DEATHS:
        return Verdict(lifecycle.DEAD, f"{GATEWAY_DIED} {DEATHS} times while sending it", died=True)
    return Verdict(lifecycle.UNCERTAIN, GATEWAY_DIED, died=True)


def not_sent(why: str, tries: int, rng: Random) -> Verdict:
    if why.startswith(OFFLINE_REASONS):
        return Verdict(lifecycle.WAITING, why, OFFLINE_PAUSE_S, refund=True)
    return _again(why, tries, rng, refund=True)


def refused(why: str, code: int, tries: int, rng: Random, *, holds: int = 0, refusals: int = 0) -> Verdict:
    """``holds``: how often in a row the device was held before; ``refusals``: how often for this very message."""
    reason = f"refused {code}: {why}" if why else f"refused {code}"
    if code in HOLDS:
        first, last = HOLDS[code]
        hold = min(last, first * 2 ** min(holds, 10))
        if refusals + 1 >= pacing.TRIES:  # in so many holds: it speaks of this person
            return Verdict(lifecycle.DEAD, reason, hold=hold)
        # Due when the hold ends, behind everything that was due before: one person can't keep the number from others.
        return Verdict(lifecycle.WAITING, reason, hold, hold=hold)
    if code in SOON:
        return _again(reason, tries, rng, refund=False)
    if code in LATER and tries + 1 < pacing.TRIES:
        return Verdict(lifecycle.WAITING, reason, rng.uniform(*LATER_S), counts=True)
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
