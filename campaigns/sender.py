"""The sender: a heap of device workers, each asked when it is due; claims, sends and settles in batches.

One event loop runs it; claims and settlements have a database thread each. A device worker is a small object in a
heap, not a task: ten thousand cost tens of megabytes (DESIGN 6).
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from django.conf import settings

from campaigns import compose, outbox
from campaigns.compose import TextError
from campaigns.engine import outcome, pacing
from campaigns.engine.concurrency import BEAT_S, SLOW_S, Limit
from campaigns.engine.lifecycle import UNCERTAIN
from campaigns.engine.outcome import Verdict
from campaigns.engine.turns import Turns
from campaigns.notes import OUTAGE, Notes
from campaigns.outbox import LOCKED_PAUSE_S, Ask, Claimed, Held, Settlement
from campaigns.pulse import Pulse
from devices.fault_points import fault_point
from devices.gateway import contract
from devices.hosting.leases import Lease
from devices.hosting.sessions import Sessions
from devices.hosting.threads import DatabaseThread
from devices.hosting.watchdog import Watchdog

logger = logging.getLogger(__name__)

CLAIM_AT_ONCE = 500
CLAIM_S = 0.04
SETTLE_AT_ONCE = 1_000
SETTLE_S = 0.04
REST_S = 0.25
ANSWER_WITHIN_S = 100.0
SPOILED_PAUSE_S = 30.0
SAID_AGAIN_S = 60.0
MOVED_KEPT = 100


class DeviceWorker:
    """What serves one device. ``due`` is when it is asked next (loop time), None while it rests.

    ``ready``: it is due, and waits for its workspace's turn. ``slow``: its last answer came late, or not yet.
    """

    __slots__ = (
        "asking", "device", "due", "epoch", "flight", "online", "ready", "rung", "slow", "unanswered", "weight",
        "workspace",
    )  # fmt: skip

    def __init__(self, device: int, epoch: int, workspace: int, weight: int) -> None:
        self.device = device
        self.epoch = epoch
        self.workspace = workspace
        self.weight = weight
        self.due: float | None = None
        self.ready = False
        self.asking = False
        self.rung = False
        self.online = True
        self.slow = False
        self.flight: Flight | None = None
        self.unanswered: set[bytes] = set()  # tags of claims whose answer was lost: they may be committed


@dataclass(slots=True)
class Flight:
    """A claimed message until its settlement is written down."""

    claimed: Claimed
    text: str
    began: float
    slow: bool  # it took one of the slots for slow devices
    holds_slot: bool = True
    answered: bool = False


class Sender:
    """Claims, sends and settles for one host; see `Sessions` for who calls the ``on_…`` methods."""

    sessions: Sessions
    watchdog: Watchdog

    def __init__(self, lease: Lease, limit: Limit, pulse: Pulse, rng: Random) -> None:
        self.lease = lease
        self.limit = limit
        self.pulse = pulse
        self.notes = Notes(pulse)
        self.rng = rng
        self.workers: dict[int, DeviceWorker] = {}
        self.in_flight = 0  # of them that hold a slot
        self.slow_in_flight = 0
        self._flying: dict[int, DeviceWorker] = {}  # unanswered, the oldest first
        self._heap: list[tuple[float, int, DeviceWorker]] = []
        self._pushed = 0
        self._ready: Turns[DeviceWorker] = Turns()
        self._ready_slow: Turns[DeviceWorker] = Turns()
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._claimed_at = 0.0
        self._settlements: list[Settlement] = []
        self._postponed: list[Settlement] = []
        self._stopping = False
        self._said_at = float("-inf")
        self._claims = DatabaseThread("claim")
        self._settles = DatabaseThread("settle")

    # ------------------------------------------------------------------ who may send, and when

    def rouse(self, device_ids: Iterable[int]) -> None:
        """There may be something due for these devices; those of other hosts are ignored."""
        now = self._loop.time()
        for device_id in device_ids:
            worker = self.workers.get(device_id)
            if worker is not None:
                worker.rung = worker.asking
                self._schedule(worker, now)

    def _schedule(self, worker: DeviceWorker, at: float) -> None:
        """Ask the worker at loop time ``at``, or earlier if it was due earlier."""
        if not worker.online or worker.ready or worker.asking or worker.flight:
            return
        if worker.due is not None and worker.due <= at:
            return
        worker.due = at
        self._pushed += 1
        heapq.heappush(self._heap, (at, self._pushed, worker))
        if len(self._heap) > 2 * len(self.workers) + MOVED_KEPT:
            self._forget_moved()
        if self._heap[0][2] is worker:
            self._woken.set()

    def _forget_moved(self) -> None:
        """Whoever is roused leaves an entry behind until its time comes: at a daily cap one for each ring all day."""
        entries = (entry for entry in self._heap if entry[2].due == entry[0])
        self._heap = list({worker: (at, order, worker) for at, order, worker in entries}.values())
        heapq.heapify(self._heap)

    def _ripen(self) -> None:
        """Who is due by now waits for the turn of its workspace."""
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            at, _, worker = heapq.heappop(self._heap)
            if worker.due == at and self.workers.get(worker.device) is worker:  # else: moved, or no longer ours
                worker.due = None
                worker.ready = True
                turns = self._ready_slow if worker.slow else self._ready
                turns.add(worker.workspace, worker.weight, worker)

    def _take_turns(self) -> list[DeviceWorker]:
        """As many as there are slots for; slow devices get their share of them at most.

        One half of the slots is claimed while the other half is under way, and where more wait than there is room
        for, not by one or two: a claim of many costs little more than one of few.
        """
        most = min(CLAIM_AT_ONCE, self.limit.value // 2 + 1)
        room = min(most, self.limit.value - self.in_flight)
        if room < most // 2 and room < len(self._ready):
            return []
        slow = self._ready_slow.take(min(room, self.limit.slow - self.slow_in_flight), self._is_wanted)
        due = slow + self._ready.take(room - len(slow), self._is_wanted)
        for worker in due:
            worker.asking = True
        return due

    def _is_wanted(self, worker: DeviceWorker) -> bool:
        worker.ready = False
        return worker.online and self.workers.get(worker.device) is worker

    # ------------------------------------------------------------------ claim and send

    def start(self, sessions: Sessions, watchdog: Watchdog) -> None:
        """Where messages go, and who says whether anything may be started."""
        self.sessions = sessions
        self.watchdog = watchdog

    async def run(self) -> None:
        duties = (
            self._claim_for_ever(),
            self._settle_for_ever(),
            self._sweep_for_ever(),
            self._adjust_for_ever(),
            self.notes.run(self.sessions),
        )
        await asyncio.gather(*duties)

    async def _claim_for_ever(self) -> None:
        while True:
            self._ripen()
            due = self._take_turns() if self._may_claim() else []
            if due:
                self._claimed_at = self._loop.time()
                await self._claim(due)
                if not self._ready:  # what comes due meanwhile is claimed together
                    await asyncio.sleep(max(0.0, self._claimed_at + CLAIM_S - self._loop.time()))
            else:
                await self._rest()

    def _may_claim(self) -> bool:
        free = self.in_flight < self.limit.value and not self._stopping and self.watchdog.may_start()
        return free and not self.sessions.congested

    async def _rest(self) -> None:
        """Until the first worker is due, somebody rings, or a slot is free; never longer than a quarter second."""
        self._woken.clear()
        wait = REST_S
        if self._heap:
            wait = min(wait, max(0.001, self._heap[0][0] - self._loop.time()))
        alarm = self._loop.call_later(wait, self._woken.set)
        await self._woken.wait()
        alarm.cancel()

    async def _claim(self, due: list[DeviceWorker]) -> None:
        asks = [Ask(worker.device, worker.epoch, pacing.draw(self.rng), secrets.token_bytes(32)) for worker in due]
        fault_point("before_intent")
        try:
            answers = await self._claims.run(outbox.claim, self.lease, asks)
        except OUTAGE:
            logger.exception("Nothing could be claimed; again in a second")
            for worker, ask in zip(due, asks, strict=True):
                worker.unanswered.add(ask.tag)
            await asyncio.sleep(1)
            answers = [Held(worker.device, "database", 0.0) for worker in due]
        except Exception:
            if len(due) > 1:  # one device's data must not hold up all the others: look for it by halves
                await self._claim(due[: len(due) // 2])
                await self._claim(due[len(due) // 2 :])
                return
            logger.exception("Nothing could be claimed for device %d", due[0].device)
            answers = [Held(due[0].device, "database", SPOILED_PAUSE_S)]
        fault_point("after_intent")
        self._answered(due, answers)

    def _answered(self, due: list[DeviceWorker], answers: Sequence[Claimed | Held]) -> None:
        now = self._loop.time()
        by_device = {answer.device: answer for answer in answers}
        sends = []
        for worker in due:
            worker.asking = False
            answer = by_device.get(worker.device)
            if isinstance(answer, Claimed):
                sends.append((worker, answer))
                continue
            # Without an answer the row is locked for a moment, or no longer ours: then the host drops the worker soon.
            wait = LOCKED_PAUSE_S if answer is None else answer.wait
            if answer and answer.tag in worker.unanswered:
                self._give_back(worker, answer)
                wait = LOCKED_PAUSE_S
            if worker.rung:
                wait = 0.0
            worker.rung = False
            if wait is not None:
                self._schedule(worker, now + wait)
        self._send(sends)

    def _give_back(self, worker: DeviceWorker, held: Held) -> None:
        """This attempt was committed but its answer never came, so it was never handed to a gateway."""
        assert held.message is not None
        assert held.tag is not None
        lost = "the claim's answer was lost"
        attempt = (worker.device, worker.epoch, held.message, held.tag)
        self._settlements.append(Settlement(*attempt, "waiting", lost, None, 0.0, retry_in=0.0, refund=True))

    def _send(self, claimed: list[tuple[DeviceWorker, Claimed]]) -> None:
        sends = []
        now = self._loop.time()
        for worker, message in claimed:
            worker.flight = Flight(message, "", now, worker.slow)
            worker.rung = False
            self._flying[worker.device] = worker
            self.in_flight += 1
            self.slow_in_flight += worker.slow
            self.pulse.touch(message.campaign, message.device, message.workspace)
            if self._compose(worker, worker.flight):
                text = worker.flight.text
                sends.append(
                    contract.Send(message.device, message.epoch, message.message, message.tag, message.phone, text)
                )
        self.limit.started(self.in_flight)
        for send in self.sessions.send_all(sends):
            self._answer(self.workers[send.device], outcome.not_sent("not connected", 0, self.rng))
        if sends:
            fault_point("after_wire")

    def _compose(self, worker: DeviceWorker, flight: Flight) -> bool:
        """Put the message into words; false when it must not leave, with its verdict given."""
        if not self.watchdog.may_start():  # it stood still after the claim: others may own the device by now
            self._answer(worker, outcome.not_sent("lease ran out", 0, self.rng))
            return False
        try:
            flight.text = render(flight.claimed)
        except TextError as error:
            self._answer(worker, outcome.template_error(str(error)))
        except Exception:  # one poisonous message must not end the engine, again and again
            logger.exception("Message %d could not be composed", flight.claimed.message)
            self._answer(worker, outcome.template_error("it could not be composed"))
        return not flight.answered

    # ------------------------------------------------------------------ what came of it

    def on_outcome(self, word: contract.Outcome) -> None:
        worker = self.workers.get(word.device)
        flight = worker.flight if worker else None
        if worker is None or flight is None or flight.claimed.tag != word.tag:
            self._late(word)
            return
        if flight.answered:  # given up, which is not written down yet
            if isinstance(word, contract.Sent):
                self._settlements.append(_settlement(flight, outcome.sent(), word))
            return
        tries = flight.claimed.tries
        match word:
            case contract.Sent():
                fault_point("after_ack")
                self._answer(worker, outcome.sent(), word)
            case contract.NotSent(why=why):
                self._answer(worker, outcome.not_sent(why, tries, self.rng), word)
            case contract.Refused(why=why, code=code):
                self._answer(worker, outcome.refused(why, code, tries, self.rng), word)
            case contract.Unknown(why=why):
                self._answer(worker, outcome.unknown(why), word)

    def _late(self, word: contract.Outcome) -> None:
        """An acknowledgement after we had given up: it still settles a message that is uncertain."""
        if isinstance(word, contract.Sent):
            self._settlements.append(
                Settlement(
                    word.device, 0, word.message, word.tag, "sent", "", None, 0.0,
                    word.wire_at, word.id, word.chat, word.at,
                )
            )  # fmt: skip

    def _answer(self, worker: DeviceWorker, verdict: Verdict, word: contract.Outcome | None = None) -> None:
        flight = worker.flight
        if flight is None or flight.answered:
            return
        flight.answered = True
        self._flying.pop(worker.device, None)
        took = self._loop.time() - flight.began
        worker.slow = took > SLOW_S
        if flight.holds_slot:
            self._free_slot(flight)
        if word is not None and not worker.slow:
            self.limit.answered(took)
        claimed = flight.claimed
        self._settlements.append(_settlement(flight, verdict, word))
        self.pulse.touch(claimed.campaign, claimed.device, claimed.workspace)

    def _free_slot(self, flight: Flight) -> None:
        flight.holds_slot = False
        self.in_flight -= 1
        self.slow_in_flight -= flight.slow
        if self._ready:
            self._woken.set()

    async def _settle_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SETTLE_S)
            receipts = self.notes.take_receipts()
            settlements = self._postponed + self._settlements
            self._postponed, self._settlements = [], []
            for start in range(0, len(settlements), SETTLE_AT_ONCE):
                await self._settle(settlements[start : start + SETTLE_AT_ONCE])
            # Only now: a receipt finds its message by the id that the settlement before it wrote down. Too early, the
            # id would be a stranger's, and might pass for that of another message of the same person.
            self.notes.ripen(receipts, {settlement.device for settlement in self._postponed})

    async def _settle(self, batch: list[Settlement]) -> None:
        """Written until it works: what WhatsApp told us must not be lost. Repeating is safe."""
        fault_point("before_settle")
        while True:
            try:
                settled = await self._settles.run(outbox.settle, batch)
                break
            except OUTAGE:
                logger.exception("Results could not be written; again in half a second")
                await asyncio.sleep(0.5)
            except Exception:
                await self._settle_apart(batch)
                return
        fault_point("after_settle")
        self._postponed += settled.postponed
        self.notes.doubt(settlement.device for settlement in batch if settlement.state == UNCERTAIN)
        postponed = {settlement.tag for settlement in settled.postponed}
        now = self._loop.time()
        for settlement in batch:
            worker = self.workers.get(settlement.device)
            flight = worker.flight if worker else None
            if worker and flight and flight.claimed.tag == settlement.tag and settlement.tag not in postponed:
                worker.flight = None
                # Not closed means not ours any more; the row would not answer a claim either.
                self._schedule(worker, now + settled.waits.get(settlement.device, 1.0))
        self._woken.set()

    async def _settle_apart(self, batch: list[Settlement]) -> None:
        """One result that cannot be written must not hold up all the others: look for it, and write what is safe."""
        if len(batch) > 1:
            await self._settle(batch[: len(batch) // 2])
            await self._settle(batch[len(batch) // 2 :])
            return
        plain = batch[0]._replace(reason="what was said of it cannot be stored", text=None, wire_id=None, chat=None)
        if plain == batch[0]:
            logger.exception("The result of message %d cannot be written; its device stops", plain.message)
            return
        logger.exception("The result of message %d is written without its words", plain.message)
        await self._settle([plain])

    async def _sweep_for_ever(self) -> None:
        """A gateway answers within 75 s; what it never answers is unknown. Late answers hold no slot meanwhile."""
        while True:
            await asyncio.sleep(1)
            now = self._loop.time()
            for worker in list(self._flying.values()):
                flight = worker.flight
                if flight is None or flight.began > now - SLOW_S:
                    break  # the oldest come first
                if flight.holds_slot:
                    worker.slow = True
                    self._free_slot(flight)
                if flight.began < now - ANSWER_WITHIN_S:
                    self._answer(worker, outcome.unknown("the gateway never answered"))

    async def _adjust_for_ever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            held_back = self.limit.held_back_s
            self.limit.adjust(self.in_flight, len(self._ready))
            if self.limit.held_back_s > held_back and self._loop.time() > self._said_at + SAID_AGAIN_S:
                self._said_at = self._loop.time()
                logger.warning(
                    "The limit of %d concurrent sends holds sending back: %d devices wait. "
                    "MAX_CONCURRENT_WORKERS may be raised.",
                    self.limit.value,
                    len(self._ready),
                )

    def meters(self) -> dict[str, float]:
        """What the host says of itself at each heartbeat."""
        return {
            "devices": len(self.workers),
            "in_flight": self.in_flight,
            "limit": self.limit.value,
            "min_limit": self.limit.least,
            "max_limit": self.limit.most,
            "highest_limit": self.limit.highest,
            "held_back_s": round(self.limit.held_back_s, 2),
            "waiting": len(self._ready) + len(self._ready_slow),
            "slow": sum(worker.slow for worker in self.workers.values()),
            "latency_ms": round(self.limit.latency_s * 1000, 1),
        }

    # ------------------------------------------------------------------ what sessions tell

    def on_receipt(self, receipt: contract.Receipt) -> None:
        self.notes.receipt(receipt)

    def on_incoming(self, incoming: contract.Incoming) -> None:
        self.notes.incoming(incoming)

    def on_found(self, found: contract.Found) -> None:
        self.notes.found(found)

    def on_online(self, devices: Iterable[tuple[int, int, int, int]]) -> None:
        """(device, epoch, workspace, its weight): written down as online, so look for their due work."""
        online = []
        for device_id, epoch, workspace, weight in devices:
            worker = self.workers.get(device_id)
            if worker is None:
                worker = self.workers[device_id] = DeviceWorker(device_id, epoch, workspace, weight)
            worker.epoch = epoch
            worker.weight = weight
            worker.online = True
            online.append(device_id)
        self.notes.doubt(online)
        if settings.ENGINE_POLLING != "off":  # else nothing is looked for that no job speaks of
            self.rouse(online)

    def on_offline(self, devices: Iterable[int]) -> None:
        """Their workers rest; what is in flight is still answered."""
        for device_id in devices:
            worker = self.workers.get(device_id)
            if worker is not None:
                worker.due = None
                worker.online = False

    def is_idle(self, device: int) -> bool:
        worker = self.workers.get(device)
        return worker is None or not (worker.flight or worker.asking)

    def on_lost(self, devices: Iterable[int], why: str) -> None:
        """Their gateway died: nobody will answer for what was in flight."""
        for device_id in devices:
            worker = self.workers.get(device_id)
            if worker and worker.flight:
                self._answer(worker, outcome.gateway_died(worker.flight.claimed.deaths))

    # ------------------------------------------------------------------ the end

    async def drain(self, timeout: float) -> None:
        """Start nothing more; wait for the answers to what is in flight and write them down, and what people wrote."""
        self._stopping = True
        until = self._loop.time() + timeout
        while self._loop.time() < until and any(worker.flight or worker.asking for worker in self.workers.values()):
            await asyncio.sleep(SETTLE_S)
        heard = self.notes.heard
        while self._loop.time() < until and self.notes.noted < heard:
            await asyncio.sleep(SETTLE_S)

    def close(self) -> None:
        self._claims.close()
        self._settles.close()
        self.notes.close()


def _settlement(flight: Flight, verdict: Verdict, word: contract.Outcome | None) -> Settlement:
    claimed = flight.claimed
    sent = word if isinstance(word, contract.Sent) else None
    return Settlement(
        device=claimed.device,
        epoch=claimed.epoch,
        message=claimed.message,
        tag=claimed.tag,
        state=verdict.state,
        reason=verdict.reason[:200],
        text=flight.text or None,
        delay=claimed.delay,
        wire_at=word.wire_at if word else None,
        wire_id=sent.id if sent else None,
        chat=sent.chat if sent else None,
        at=sent.at if sent else None,
        retry_in=verdict.retry_in,
        refund=verdict.refund,
        counts=verdict.counts,
        died=verdict.died,
    )


@lru_cache(maxsize=256)
def _template(content: int, text: str) -> compose.Template:
    return compose.parse(text)


def render(message: Claimed) -> str:
    """The message's words for this person. Raises `TextError`."""
    variables = compose.variables_for(message.name, message.phone, message.fields)
    return compose.render(_template(message.content, message.text), variables)
