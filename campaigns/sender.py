"""The sender: a heap of device workers, each asked when it is due; claims, sends and settles in batches.

One event loop runs it; claims, settlements and what people answer have a database thread each. A device worker is a
small object in a heap, not a task: ten thousand cost tens of megabytes (DESIGN 6).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any

from django.db import InterfaceError, OperationalError

from campaigns import compose, outbox
from campaigns.actions.replies import note_incoming
from campaigns.compose import TextError
from campaigns.engine import outcome, pacing
from campaigns.engine.outcome import Verdict
from campaigns.outbox import LOCKED_PAUSE_S, Ask, Claimed, Held, ReceiptRow, Settlement
from campaigns.pulse import Pulse
from devices.gateway import contract
from devices.hosting.leases import Lease
from devices.hosting.sessions import Sessions
from devices.hosting.threads import DatabaseThread
from devices.hosting.watchdog import Watchdog

logger = logging.getLogger(__name__)

CLAIM_AT_ONCE = 500
SETTLE_AT_ONCE = 1_000
SETTLE_S = 0.02
NOTE_S = 0.2
RECEIPTS_KEPT = 50_000
ANSWER_WITHIN_S = 100.0
SPOILED_PAUSE_S = 30.0
OUTAGE = (OperationalError, InterfaceError)  # PostgreSQL's state is to blame, and not what it was told


class DeviceWorker:
    """What serves one device. ``due`` is when it is asked next (loop time), None while it rests."""

    __slots__ = ("asking", "device", "due", "epoch", "flight", "online", "rung", "unanswered")

    def __init__(self, device: int, epoch: int) -> None:
        self.device = device
        self.epoch = epoch
        self.due: float | None = None
        self.asking = False
        self.rung = False
        self.online = True
        self.flight: Flight | None = None
        self.unanswered: set[bytes] = set()  # tags of claims whose answer was lost: they may be committed


@dataclass(slots=True)
class Flight:
    """A claimed message until its settlement is written down."""

    claimed: Claimed
    text: str
    began: float
    answered: bool = False


class Sender:
    """Claims, sends and settles for one host; see `Sessions` for who calls the ``on_…`` methods."""

    sessions: Sessions
    watchdog: Watchdog

    def __init__(self, lease: Lease, limit: int, pulse: Pulse, rng: Random) -> None:
        self.lease = lease
        self.limit = limit
        self.pulse = pulse
        self.rng = rng
        self.workers: dict[int, DeviceWorker] = {}
        self.in_flight = 0
        self._heap: list[tuple[float, int, DeviceWorker]] = []
        self._pushed = 0
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._settlements: list[Settlement] = []
        self._receipts: list[ReceiptRow] = []
        self._ripe: list[ReceiptRow] = []
        self._incoming: deque[contract.Incoming] = deque()
        self._noted = 0  # of the incoming messages there ever were
        self._stopping = False
        self._claims = DatabaseThread("claim")
        self._settles = DatabaseThread("settle")
        self._notes = DatabaseThread("notes")

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
        if not worker.online or worker.asking or worker.flight or (worker.due is not None and worker.due <= at):
            return
        worker.due = at
        self._pushed += 1
        heapq.heappush(self._heap, (at, self._pushed, worker))
        if self._heap[0][2] is worker:
            self._woken.set()

    def _take_due(self, most: int) -> list[DeviceWorker]:
        now = self._loop.time()
        due: list[DeviceWorker] = []
        while self._heap and len(due) < most and self._heap[0][0] <= now:
            at, _, worker = heapq.heappop(self._heap)
            if worker.due == at and self.workers.get(worker.device) is worker:  # else: moved, or no longer ours
                worker.due = None
                worker.asking = True
                due.append(worker)
        return due

    # ------------------------------------------------------------------ claim and send

    def start(self, sessions: Sessions, watchdog: Watchdog) -> None:
        """Where messages go, and who says whether anything may be started."""
        self.sessions = sessions
        self.watchdog = watchdog

    async def run(self) -> None:
        duties = (self._claim_for_ever(), self._settle_for_ever(), self._note_for_ever(), self._sweep_for_ever())
        await asyncio.gather(*duties)

    async def _claim_for_ever(self) -> None:
        while True:
            due = self._take_due(min(CLAIM_AT_ONCE, self.limit - self.in_flight)) if self._may_claim() else []
            if due:
                await self._claim(due)
            else:
                await self._rest()

    def _may_claim(self) -> bool:
        free = self.in_flight < self.limit and not self._stopping and self.watchdog.may_start()
        return free and not self.sessions.congested

    async def _rest(self) -> None:
        """Until the first worker is due, somebody rings, or a slot is free; never longer than a quarter second."""
        self._woken.clear()
        wait = 0.25
        if self._heap and self._may_claim():
            wait = min(wait, max(0.0, self._heap[0][0] - self._loop.time()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), wait)

    async def _claim(self, due: list[DeviceWorker]) -> None:
        asks = [Ask(worker.device, worker.epoch, pacing.draw(self.rng)) for worker in due]
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
        for worker, message in claimed:
            worker.flight = Flight(message, "", self._loop.time())
            worker.rung = False
            worker.unanswered.clear()
            self.in_flight += 1
            self.pulse.touch(message.campaign, message.device, message.workspace)
            if self._compose(worker, worker.flight):
                text = worker.flight.text
                sends.append(
                    contract.Send(message.device, message.epoch, message.message, message.tag, message.phone, text)
                )
        for send in self.sessions.send_all(sends):
            self._answer(self.workers[send.device], outcome.not_sent("not connected", 0, self.rng))

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
        tries = flight.claimed.tries
        match word:
            case contract.Sent():
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
        self.in_flight -= 1
        claimed = flight.claimed
        sent = word if isinstance(word, contract.Sent) else None
        self._settlements.append(
            Settlement(
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
            )
        )
        self.pulse.touch(claimed.campaign, claimed.device, claimed.workspace)

    async def _settle_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SETTLE_S)
            receipts, self._receipts = self._receipts, []
            settlements, self._settlements = self._settlements, []
            for start in range(0, len(settlements), SETTLE_AT_ONCE):
                await self._settle(settlements[start : start + SETTLE_AT_ONCE])
            # Only now: a receipt finds its message by the id that the settlement before it wrote down.
            self._ripe += receipts

    async def _settle(self, batch: list[Settlement]) -> None:
        """Written until it works: what WhatsApp told us must not be lost. Repeating is safe."""
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
        self._settlements += settled.postponed
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
        plain = replace(batch[0], reason="what was said of it cannot be stored", text=None, wire_id=None, chat=None)
        if plain == batch[0]:
            logger.exception("The result of message %d cannot be written; its device stops", plain.message)
            return
        logger.exception("The result of message %d is written without its words", plain.message)
        await self._settle([plain])

    async def _note_for_ever(self) -> None:
        """Receipts and replies, on a thread of their own: many at once must not hold up the sending."""
        while True:
            await asyncio.sleep(NOTE_S)
            receipts, self._ripe = self._ripe, []
            if receipts:
                await self._note(outbox.settle_receipts, receipts)
            while self._incoming:
                await self._note(note_incoming, [self._incoming[0]])
                self._incoming.popleft()
                self._noted += 1

    async def _note(self, write: Callable[[Any], set[int]], told: Sequence[Any]) -> None:
        """Written once PostgreSQL answers, since a reply may ask to stop; what it refuses is lost (P15)."""
        while True:
            try:
                for campaign in await self._notes.run(write, told):
                    self.pulse.touch(campaign)
                return
            except OUTAGE:
                logger.exception("Receipts or replies could not be written; again in a second")
                await asyncio.sleep(1)
            except Exception:
                logger.exception("%d receipts or replies cannot be written", len(told))
                return

    async def _sweep_for_ever(self) -> None:
        """A gateway answers within 75 s; what it never answers is unknown."""
        while True:
            await asyncio.sleep(5)
            overdue = self._loop.time() - ANSWER_WITHIN_S
            for worker in list(self.workers.values()):
                if worker.flight and not worker.flight.answered and worker.flight.began < overdue:
                    self._answer(worker, outcome.unknown("the gateway never answered"))

    # ------------------------------------------------------------------ what sessions tell

    def on_receipt(self, receipt: contract.Receipt) -> None:
        if len(self._receipts) + len(self._ripe) < RECEIPTS_KEPT:
            self._receipts += [ReceiptRow(receipt.device, id, receipt.kind, receipt.at) for id in receipt.ids]

    def on_incoming(self, incoming: contract.Incoming) -> None:
        if len(self._incoming) < RECEIPTS_KEPT:
            self._incoming.append(incoming)

    def on_online(self, devices: Iterable[tuple[int, int]]) -> None:
        """These devices are written down as online, each with its epoch: look for their due work."""
        for device_id, epoch in devices:
            worker = self.workers.get(device_id)
            if worker is None:
                worker = self.workers[device_id] = DeviceWorker(device_id, epoch)
            worker.epoch = epoch
            worker.online = True
        self.rouse(device_id for device_id, _ in devices)

    def on_offline(self, devices: Iterable[int]) -> None:
        """Their workers rest; what is in flight is still answered."""
        for device_id in devices:
            worker = self.workers.get(device_id)
            if worker is not None:
                worker.due = None
                worker.online = False

    def on_lost(self, devices: Iterable[int], why: str) -> None:
        """Their gateway died: nobody will answer for what was in flight."""
        for device_id in devices:
            worker = self.workers.get(device_id)
            if worker and worker.flight:
                self._answer(worker, outcome.unknown(why))

    # ------------------------------------------------------------------ the end

    async def drain(self, timeout: float) -> None:
        """Start nothing more; wait for the answers to what is in flight and write them down, and what people wrote."""
        self._stopping = True
        until = self._loop.time() + timeout
        while self._loop.time() < until and any(worker.flight or worker.asking for worker in self.workers.values()):
            await asyncio.sleep(SETTLE_S)
        heard = self._noted + len(self._incoming)
        while self._loop.time() < until and self._noted < heard:
            await asyncio.sleep(SETTLE_S)

    def close(self) -> None:
        for thread in (self._claims, self._settles, self._notes):
            thread.close()


@lru_cache(maxsize=256)
def _template(content: int, text: str) -> compose.Template:
    return compose.parse(text)


def render(message: Claimed) -> str:
    """The message's words for this person. Raises `TextError`."""
    variables = compose.variables_for(message.name, message.phone, message.fields)
    return compose.render(_template(message.content, message.text), variables)
