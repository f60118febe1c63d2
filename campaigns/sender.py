"""The sender: asks for the device workers that are due, hands messages to their gateways, and hears what came of it.

One event loop runs it; claims and settlements have a database thread each.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from django.conf import settings

from campaigns import compose, outbox
from campaigns.checking import Checking
from campaigns.compose import TextError
from campaigns.engine import outcome, pacing
from campaigns.engine.concurrency import BEAT_S, SLOW_S, Limit
from campaigns.engine.lifecycle import UNCERTAIN
from campaigns.engine.outcome import Verdict
from campaigns.media_files import FileGone, MediaFiles
from campaigns.metering import Metering
from campaigns.notes import OUTAGE, Notes
from campaigns.opt_out import VARIABLE, link_for
from campaigns.outbox import Ask, Claimed, Held, Settlement
from campaigns.parsed import Parsed
from campaigns.pulse import Pulse
from campaigns.schedule import AHEAD_S, DeviceWorker, Flight, Schedule
from campaigns.settling import SETTLE_S, Settling
from devices.fault_points import fault_point
from devices.gateway import contract
from devices.hosting.leases import Lease
from devices.hosting.sessions import Sessions
from devices.hosting.threads import DatabaseThread
from devices.hosting.watchdog import Watchdog

logger = logging.getLogger(__name__)

CLAIM_AT_ONCE = 500
CLAIM_S = 0.04
POST_S = 0.005  # messages that leave within the same 5 ms are handed over together
REST_S = 0.25
ANSWER_WITHIN_S = 100.0
FILE_WITHIN_S = 1.0  # so long a claimed message waits for its file
LOCKED_PAUSE_S, LOCKED_PAUSES = 0.02, 5  # doubled each time: a receipt's lock is short, a cancelled campaign's is not
SPOILED_PAUSE_S = 30.0
SAID_AGAIN_S = 60.0


class Sender:
    """Claims, sends and settles for one host; see `Sessions` for who calls the ``on_…`` methods."""

    sessions: Sessions
    watchdog: Watchdog

    def __init__(self, lease: Lease, limit: Limit, pulse: Pulse, rng: Random) -> None:
        self.lease = lease
        self.limit = limit
        self.pulse = pulse
        self.checking = Checking(lease, lambda: [worker.device for worker in self.workers.values() if worker.online])
        self.rng = rng
        self.schedule = Schedule()
        self.workers = self.schedule.workers
        self.metering = Metering(lease)
        self.notes = Notes(pulse, self._is_unsettled, self.metering)
        self.settling = Settling(self.notes, self._closed, self.metering)
        self.in_flight = 0  # of them that hold a slot
        self.slow_in_flight = 0
        self._flying: dict[int, DeviceWorker] = {}  # unanswered, the oldest first
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._said_at = float("-inf")
        self._claims = DatabaseThread("claim")
        self._files = MediaFiles(Path(settings.SESSIONS_DIR) / "media", settings.MEDIA_CACHE_BYTES)
        self._fetching: set[asyncio.Task[None]] = set()

    def start(self, sessions: Sessions, watchdog: Watchdog) -> None:
        """Where messages go, and who says whether anything may be started."""
        self.sessions = sessions
        self.watchdog = watchdog

    async def run(self) -> None:
        duties = (
            self._claim_for_ever(),
            self.settling.run(),
            self._sweep_for_ever(),
            self._adjust_for_ever(),
            self.notes.run(self.sessions),
            self.checking.run(self.sessions),
            self.metering.run(self.sessions.sessions.keys, lambda: {**self.sessions.meters(), **self.meters()}),
        )
        await asyncio.gather(*duties)

    def rouse(self, device_ids: Iterable[int]) -> None:
        """There may be something due for these devices; those of other hosts are ignored."""
        self.schedule.rouse(device_ids)

    # ------------------------------------------------------------------ claim

    async def _claim_for_ever(self) -> None:
        while True:
            self.schedule.ripen()
            due = self._take_turns() if self._may_claim() else []
            if due:
                began = self._loop.time()
                await self._claim(due)
                if not self.schedule.ready:  # what comes due meanwhile is claimed together
                    await asyncio.sleep(max(0.0, began + CLAIM_S - self._loop.time()))
            else:
                await self._rest()

    def _may_claim(self) -> bool:
        free = self.in_flight < self.limit.value and not self._stopping and self.watchdog.may_start()
        return free and not self.sessions.congested

    def _take_turns(self) -> list[DeviceWorker]:
        """As many as there are slots for; slow devices get their share of them at most.

        One half of the slots is claimed while the other half is under way, and where more wait than there is room
        for, not by one or two: a claim of many costs little more than one of few.
        """
        most = min(CLAIM_AT_ONCE, self.limit.value // 2 + 1)
        room = min(most, self.limit.value - self.in_flight)
        if room < most // 2 and room < self.schedule.ready:
            return []
        return self.schedule.take(room, self.limit.slow - self.slow_in_flight)

    async def _rest(self) -> None:
        """Until somebody has to be asked, somebody rings, or a slot is free; never longer than a quarter second."""
        woken = self.schedule.woken
        woken.clear()
        wait = min(REST_S, max(0.001, self.schedule.next_look() - self._loop.time()))
        alarm = self._loop.call_later(wait, woken.set)
        await woken.wait()
        alarm.cancel()

    async def _claim(self, due: list[DeviceWorker]) -> None:
        asks = [Ask(worker.device, worker.epoch, pacing.draw(self.rng), secrets.token_bytes(32)) for worker in due]
        fault_point("before_intent")
        try:
            answers = await self._claims.run(outbox.claim, self.lease, asks, AHEAD_S)
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
        flights: list[DeviceWorker] = []
        for worker in due:
            worker.asking = False
            answer = by_device.get(worker.device)
            if isinstance(answer, Claimed):
                flights.append(self._begin(worker, answer, now))
                continue
            wait = self._pause(worker) if answer is None or answer.locked else answer.wait
            if answer and answer.tag in worker.unanswered:
                self._give_back(worker, answer)
                wait = LOCKED_PAUSE_S
            if worker.rung:
                wait = 0.0
            worker.rung = False
            if wait is not None:
                self.schedule.put(worker, now + wait)
        self.limit.started(self.in_flight)
        self._post_in_time(flights, now)

    @staticmethod
    def _pause(worker: DeviceWorker) -> float:
        """Somebody has locked the row, or it is no longer ours: then the host drops the worker soon."""
        pause = LOCKED_PAUSE_S * 2**worker.passed_over
        worker.passed_over = min(worker.passed_over + 1, LOCKED_PAUSES)
        return pause

    def _give_back(self, worker: DeviceWorker, held: Held) -> None:
        """This attempt was committed but its answer never came, so it was never handed to a gateway."""
        assert held.message is not None
        assert held.tag is not None
        lost = "the claim's answer was lost"
        attempt = (worker.device, worker.epoch, held.message, held.tag)
        self.settling.add(Settlement(*attempt, "waiting", lost, None, 0.0, retry_in=0.0, refund=True))

    def _begin(self, worker: DeviceWorker, claimed: Claimed, now: float) -> DeviceWorker:
        worker.flight = Flight(claimed, now + claimed.wait, worker.slow)
        worker.rung = False
        worker.passed_over = 0
        self._flying[worker.device] = worker
        self.in_flight += 1
        self.slow_in_flight += worker.slow
        self.pulse.touch(claimed.campaign, claimed.device, claimed.workspace)
        return worker

    # ------------------------------------------------------------------ send

    def _post_in_time(self, claimed: list[DeviceWorker], now: float) -> None:
        """Each message leaves when its device's gap ends, and not before."""
        batches: dict[int, list[DeviceWorker]] = {}
        for worker in claimed:
            assert worker.flight is not None
            batches.setdefault(math.ceil((worker.flight.began - now) / POST_S), []).append(worker)
        for place, batch in batches.items():
            if place <= 0:
                self._post(batch)
            else:
                self._loop.call_at(now + place * POST_S, self._post, batch)

    def _post(self, workers: list[DeviceWorker]) -> None:
        sends = []
        for worker in workers:
            flight = worker.flight
            if flight is None or flight.answered:
                continue
            message = flight.claimed
            file = None if message.media is None else self._files.at_hand(message.media)
            if file is None and message.media is not None:
                self._post_with_its_file(worker, flight, message.media)
            elif (text := self._compose(worker, flight)) is not None:
                flight.posted = True
                sends.append(
                    contract.Send(
                        message.device, message.epoch, message.message, message.tag, message.phone, text, file
                    )
                )
        for send in self.sessions.send_all(sends):
            self._answer(self.workers[send.device], outcome.not_sent("not connected", 0, self.rng))
        if sends:
            fault_point("after_wire")

    def _post_with_its_file(self, worker: DeviceWorker, flight: Flight, media: int) -> None:
        task = self._loop.create_task(self._bring_file(worker, flight, media))
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    async def _bring_file(self, worker: DeviceWorker, flight: Flight, media: int) -> None:
        """The message leaves when its file is on this host; what takes long is claimed anew, by all the rules (P9)."""
        verdict = None
        try:
            async with asyncio.timeout(FILE_WITHIN_S):
                await self._files.bring(media)
        except FileGone:
            verdict = outcome.template_error("Its file is gone.")
        except TimeoutError:
            verdict = outcome.file_not_here()
        except Exception:
            logger.exception("The file of message %d could not be fetched", flight.claimed.message)
            verdict = outcome.file_not_here()
        if worker.flight is not flight:
            return
        if verdict is None:
            self._post([worker])
        else:
            self._answer(worker, verdict)

    def _compose(self, worker: DeviceWorker, flight: Flight) -> str | None:
        """The message's words; None when it must not leave, with its verdict given."""
        if not self.watchdog.may_start():  # it stood still after the claim: others may own the device by now
            self._answer(worker, outcome.not_sent("lease ran out", 0, self.rng))
            return None
        try:
            flight.text = render(flight.claimed)
        except TextError as error:
            self._answer(worker, outcome.template_error(str(error)))
        except Exception:  # one poisonous message must not end the engine, again and again
            logger.exception("Message %d could not be composed", flight.claimed.message)
            self._answer(worker, outcome.template_error("it could not be composed"))
        return flight.text

    # ------------------------------------------------------------------ what came of it

    def on_outcome(self, word: contract.Outcome) -> None:
        worker = self.workers.get(word.device)
        flight = worker.flight if worker else None
        if worker is None or flight is None or flight.claimed.tag != word.tag:
            self._late(word)
            return
        if flight.answered:  # given up, which is not written down yet
            if isinstance(word, contract.Sent):
                self.settling.add(_settlement(flight, outcome.sent(), word))
            return
        tries = flight.claimed.tries
        match word:
            case contract.Sent():
                fault_point("after_ack")
                self._answer(worker, outcome.sent(), word)
            case contract.NotSent(why=why):
                self._answer(worker, outcome.not_sent(why, tries, self.rng), word)
            case contract.Refused(why=why, code=code):
                verdict = outcome.refused(
                    why, code, tries, self.rng, holds=flight.claimed.holds, refusals=flight.claimed.refusals
                )
                self._answer(worker, verdict, word)
            case contract.Unknown(why=why):
                self._answer(worker, outcome.unknown(why), word)

    def _late(self, word: contract.Outcome) -> None:
        """An acknowledgement after we had given up: it still settles a message that is uncertain."""
        if isinstance(word, contract.Sent):
            self.settling.add(
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
        self.settling.add(_settlement(flight, verdict, word))
        self.pulse.touch(claimed.campaign, claimed.device, claimed.workspace)
        if verdict.hold:
            self.pulse.held(claimed.device)

    def _is_unsettled(self, device: int) -> bool:
        worker = self.workers.get(device)
        return worker is None or not worker.online or worker.flight is not None

    def _free_slot(self, flight: Flight) -> None:
        flight.holds_slot = False
        self.in_flight -= 1
        self.slow_in_flight -= flight.slow
        if self.schedule.ready:
            self.schedule.woken.set()

    def _closed(self, settled: Sequence[Settlement], waits: dict[int, float]) -> None:
        """Written down: these devices may send again, each after its gap."""
        now = self._loop.time()
        for settlement in settled:
            worker = self.workers.get(settlement.device)
            flight = worker.flight if worker else None
            if worker and flight and flight.claimed.tag == settlement.tag:
                worker.flight = None
                # Not closed means not ours any more; the row would not answer a claim either.
                self.schedule.put(worker, now + waits.get(settlement.device, 1.0))
        self.notes.doubt(settlement.device for settlement in settled if settlement.state == UNCERTAIN)
        self.schedule.woken.set()

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
            self.limit.adjust(self.in_flight, self.schedule.ready)
            if self.limit.held_back_s > held_back and self._loop.time() > self._said_at + SAID_AGAIN_S:
                self._said_at = self._loop.time()
                logger.warning(
                    "The limit of %d concurrent sends holds sending back: %d devices wait. "
                    "MAX_CONCURRENT_WORKERS may be raised.",
                    self.limit.value,
                    self.schedule.ready,
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
            "waiting": self.schedule.ready + self.schedule.ready_slow,
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

    def on_numbers(self, numbers: contract.Numbers) -> None:
        self.checking.on_numbers(numbers)

    def on_online(self, devices: Iterable[tuple[int, int, int, int]]) -> None:
        """(device, epoch, workspace, its weight): written down as online, so look for their due work."""
        online = []
        for device_id, epoch, workspace, weight in devices:
            worker = self.workers.get(device_id)
            if worker is None or worker.epoch != epoch:
                self.metering.doubt([device_id])
            if worker is None:
                worker = self.workers[device_id] = DeviceWorker(device_id, epoch, workspace, weight)
            worker.epoch = epoch
            worker.weight = weight
            worker.online = True
            online.append(device_id)
        self.notes.search(online)
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
        """Their gateway died: nobody will answer for what it had in flight."""
        for device_id in devices:
            worker = self.workers.get(device_id)
            if worker and worker.flight and worker.flight.posted:
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
        await self.metering.last_word()

    def close(self) -> None:
        self._claims.close()
        self._files.close()
        self.settling.close()
        self.notes.close()
        self.checking.close()
        self.metering.close()


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
        text=flight.text,
        delay=claimed.delay,
        wire_at=word.wire_at if word else None,
        wire_id=sent.id if sent else None,
        chat=sent.chat if sent else None,
        at=sent.at if sent else None,
        retry_in=verdict.retry_in,
        refund=verdict.refund,
        counts=verdict.counts,
        died=verdict.died,
        hold=verdict.hold,
    )


PARSED = Parsed()


def render(message: Claimed) -> str:
    """The message's words for this person. Raises `TextError`."""
    link = link_for(message.contact) if message.contact and VARIABLE in message.text else ""
    variables = compose.variables_for(message.name, message.phone, message.fields, link)
    template = PARSED.template(message.text)
    return compose.render(template, variables, caption=message.media is not None, seed=message.message)
