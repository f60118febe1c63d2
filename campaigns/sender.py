"""The sender: a heap of device workers, each asked when it is due; claims, sends and settles in batches.

One event loop runs it; claims and settlements run in one database thread each. A device worker is a small object in a
heap, not a task: ten thousand cost tens of megabytes (DESIGN 6).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from campaigns import compose, outbox
from campaigns.actions.replies import note_incoming
from campaigns.compose import TextError
from campaigns.engine import outcome, pacing
from campaigns.engine.outcome import Verdict
from campaigns.outbox import Ask, Claimed, Held, ReceiptRow, Settlement
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
RECEIPTS_S = 0.2
RECEIPTS_KEPT = 50_000
ANSWER_WITHIN_S = 100.0
LOCKED_PAUSE_S = 0.1


class DeviceWorker:
    """What serves one device. ``due`` is when it is asked next (loop time), None while it rests."""

    __slots__ = ("asking", "device", "due", "epoch", "flight", "online", "rung")

    def __init__(self, device: int, epoch: int) -> None:
        self.device = device
        self.epoch = epoch
        self.due: float | None = None
        self.asking = False
        self.rung = False
        self.online = True
        self.flight: Flight | None = None


@dataclass(slots=True)
class Flight:
    """A claimed message until its settlement is written down."""

    claimed: Claimed
    epoch: int
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
        self._incoming: list[contract.Incoming] = []
        self._stopping = False
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
        await asyncio.gather(self._claim_for_ever(), self._settle_for_ever(), self._sweep_for_ever())

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
        except Exception:
            logger.exception("Nothing could be claimed; again in a second")
            await asyncio.sleep(1)
            self._answered(due, [Held(worker.device, "database", 0.0) for worker in due])
            return
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
            if worker.rung:
                wait = 0.0
            worker.rung = False
            if wait is not None:
                self._schedule(worker, now + wait)
        self._send(sends)

    def _send(self, claimed: list[tuple[DeviceWorker, Claimed]]) -> None:
        sends = []
        for worker, message in claimed:
            worker.flight = Flight(message, worker.epoch, "", self._loop.time())
            worker.rung = False
            self.in_flight += 1
            self.pulse.touch(message.campaign, message.device, message.workspace)
            try:
                worker.flight.text = render(message)
            except TextError as error:
                self._answer(worker, outcome.template_error(str(error)))
                continue
            except Exception:  # one poisonous message must not end the engine, again and again
                logger.exception("Message %d could not be composed", message.message)
                self._answer(worker, outcome.template_error("it could not be composed"))
                continue
            sends.append(
                contract.Send(
                    message.device, worker.epoch, message.message, message.tag, message.phone, worker.flight.text
                )
            )
        for send in self.sessions.send_all(sends):
            self._answer(self.workers[send.device], outcome.not_sent("not connected", 0, self.rng))

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
                epoch=flight.epoch,
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
        receipts_at = 0.0
        while True:
            await asyncio.sleep(SETTLE_S)
            if self._settlements:
                batch = self._settlements[:SETTLE_AT_ONCE]
                del self._settlements[: len(batch)]
                await self._settle(batch)
            # After the settlements that came before them: a receipt finds its message by the id written there.
            if self._receipts and not self._settlements and self._loop.time() >= receipts_at:
                receipts, self._receipts = self._receipts, []
                await self._settle_receipts(receipts)
                receipts_at = self._loop.time() + RECEIPTS_S
            if self._incoming:
                incoming, self._incoming = self._incoming, []
                await self._note_incoming(incoming)

    async def _settle(self, batch: list[Settlement]) -> None:
        """Written until it works: what WhatsApp told us must not be lost. Repeating is safe."""
        while True:
            try:
                waits = await self._settles.run(outbox.settle, batch)
                break
            except Exception:
                logger.exception("Results could not be written; again in half a second")
                await asyncio.sleep(0.5)
        now = self._loop.time()
        for settlement in batch:
            worker = self.workers.get(settlement.device)
            if worker and worker.flight and worker.flight.claimed.tag == settlement.tag:
                worker.flight = None
                # Not closed means not ours any more; the row would not answer a claim either.
                self._schedule(worker, now + waits.get(settlement.device, 1.0))
        self._woken.set()

    async def _settle_receipts(self, receipts: list[ReceiptRow]) -> None:
        try:
            for campaign in await self._settles.run(outbox.settle_receipts, receipts):
                self.pulse.touch(campaign)
        except Exception:  # receipts are best effort (P15)
            logger.exception("%d receipts could not be written", len(receipts))

    async def _note_incoming(self, incoming: list[contract.Incoming]) -> None:
        try:
            for campaign in await self._settles.run(note_incoming, incoming):
                self.pulse.touch(campaign)
        except Exception:
            logger.exception("%d incoming messages could not be written", len(incoming))

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
        if len(self._receipts) < RECEIPTS_KEPT:
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
        """Start nothing more; wait for the answers to what is in flight and write them down."""
        self._stopping = True
        until = self._loop.time() + timeout
        while self._loop.time() < until and any(worker.flight or worker.asking for worker in self.workers.values()):
            await asyncio.sleep(SETTLE_S)

    def close(self) -> None:
        self._claims.close()
        self._settles.close()


@lru_cache(maxsize=256)
def _template(content: int, text: str) -> compose.Template:
    return compose.parse(text)


def render(message: Claimed) -> str:
    """The message's words for this person. Raises `TextError`."""
    variables = compose.variables_for(message.name, message.phone, message.fields)
    return compose.render(_template(message.content, message.text), variables)
