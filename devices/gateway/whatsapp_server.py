"""The WhatsApp gateway: the contract over the clients of this process, each the session of one device."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from devices.gateway import contract, noise, send_errors, session_lock, session_store
from devices.gateway import whatsapp_client as library
from devices.gateway.contract import (
    Found,
    Incoming,
    NotSent,
    Numbers,
    Offline,
    Online,
    Open,
    Outcome,
    Pair,
    Paired,
    PairFailed,
    Qr,
    Receipt,
    Refused,
    Send,
    Sent,
    SnapshotTaken,
    Unknown,
    Unlinked,
    Word,
)
from devices.gateway.gate import Gate
from devices.gateway.media import Unsendable, prepare
from devices.gateway.reachable import Network
from devices.gateway.serving import TIMED_OUT, Device, GatewayServer, State
from devices.gateway.session_store import SessionStore, StoreError
from devices.gateway.whatsapp_client import Client

# The library gives up after 75 s by itself; only a message it repeats after a reconnect waits for ever
SEND_TIMEOUT_S = 90.0
THREADS = 256
ALONE_S = 1.0  # a starting client is past the maps long before; its network may take much longer
ENTER_S = 30.0
STOP_S = 5.0
LOG_OUT_S = 10.0
FLUSH_S = 1.0
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 300.0
FIRST_LOOK_S, LAST_LOOK_S = 0.5, 30.0
FIRST_CODE_S, NEXT_CODE_S = 60.0, 20.0
NUMBERS_A_CALL = 50
SLOWEST_UPLOAD = 64 * 1024  # bytes a second, before a file that does not get on is given up
AWAY = "network is away"
DELETED_HERE = "deleted here, remove it on the phone too"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")

log = logging.getLogger("gateway")


class WhatsAppDevice(Device):
    __slots__ = ("client", "code_until", "ending", "flight", "jid", "life", "links_phone", "lock", "opened",
                 "phone", "renewing", "why")  # fmt: skip

    def __init__(self, id: int, epoch: int, path: Path, state: State) -> None:
        super().__init__(id, epoch, path, state)
        self.lock = -1
        self.jid = ""
        self.phone = ""  # told by WhatsApp once a pairing is through
        self.links_phone = ""
        self.code_until = 0.0
        self.client: Client | None = None
        self.flight: Flight | None = None
        self.renewing = False  # between two clients, with the device online all the same
        self.why = ""
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.life: asyncio.Task[None] | None = None  # brings a client up
        self.ending: asyncio.Task[None] | None = None  # stops the former one


class Flight:
    """A message on its way through a thread. Either the thread takes it to WhatsApp or the loop takes it back."""

    __slots__ = ("_taken", "command", "wire_at")

    def __init__(self, command: Send) -> None:
        self.command = command
        self.wire_at = 0.0
        self._taken = threading.Lock()

    def take(self) -> bool:
        """True for whoever comes first."""
        return self._taken.acquire(blocking=False)


class OnTheWire(NamedTuple):
    flight: Flight


class WhatsAppGateway(GatewayServer[WhatsAppDevice]):
    """Blocking calls run in threads, sends of one device one after the other. What clients say arrives in the loop
    in batches, one wake-up for many words."""

    def __init__(self, send_timeout: float = SEND_TIMEOUT_S) -> None:
        super().__init__(send_timeout, on_congested=self._hold_clients)
        self._gate = Gate()
        self._store = SessionStore()
        self._network = Network()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="call")
        self._flow = threading.Event()  # cleared while the engine takes nothing: then the clients' threads wait
        self._flow.set()
        self._said: deque[tuple[Client, Any]] = deque()
        self._woken = False
        self._leaving: dict[Path, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._events: dict[type, Callable[[Any, WhatsAppDevice], None]] = {
            library.LoggedIn: self._logged_in,
            library.CutOff: lambda word, device: self._offline(device, "connection cut"),
            library.Silent: lambda word, device: self._offline(device, "no answer from WhatsApp"),
            library.Failed: self._failed,
            library.Ended: self._fell,
            library.Scannable: self._show_code,
            library.LinkStatus: self._link_status,
            library.Linked: self._linked,
            contract.Unlinked: self._unlinked,
            contract.Replaced: self._stopped,
            contract.Banned: self._stopped,
            contract.Outdated: self._stopped,
        }

    async def serve(self, engine_socket: socket.socket) -> None:
        """Run until the engine's socket ends or SIGTERM has drained what was in flight."""
        await self._begin(engine_socket)
        await self.ended.wait()
        log.info("gateway ends with %d devices", len(self._devices))
        self.engine.close()
        deadline = self._loop.time() + FLUSH_S
        while self.engine.buffered and self._loop.time() < deadline:
            await asyncio.sleep(0.01)

    def _hold_clients(self, congested: bool) -> None:
        if congested:
            self._flow.clear()
        else:
            self._flow.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            log.error("a duty of the gateway failed", exc_info=problem)

    # ------------------------------------------------------------------------------------------ opening

    def _open_anew(self, command: Open) -> None:
        device = WhatsAppDevice(command.device, command.epoch, Path(command.session), State.CONNECTING)
        self._devices[device.id] = device
        device.life = self._spawn(self._bring_up(device, command.fresh_keys))

    def _reopen(self, device: WhatsAppDevice) -> None:
        if not device.opened.done():
            return  # it is just being opened
        if device.state is State.STOPPED or (device.state is State.CONNECTING and device.client is None):
            device.told_offline = False
            self._connect_anew(device)
        elif device.state is State.CONNECTING and device.why:
            self.engine.send(Offline(device.id, device.why))

    async def _bring_up(self, device: WhatsAppDevice, fresh_keys: bool) -> None:
        try:
            await self._claim(device)
            identity = await self._store.identity(device.path, fresh_keys=fresh_keys)
        except session_lock.InUse:
            self._never_opened(device, Offline(device.id, "session in use"))
        except OSError as error:
            self._never_opened(device, Offline(device.id, f"session file: {error.strerror}"))
        except StoreError as error:
            self._never_opened(device, Offline(device.id, f"session file: {error}"))
        else:
            if identity is None:
                self._never_opened(device, Unlinked(device.id, "no session"))
            else:
                device.jid = identity["jid"]
                device.opened.set_result(True)
                await self._connect(device)

    async def _claim(self, device: WhatsAppDevice) -> None:
        """Be the only one who has the session. Raises InUse, OSError."""
        if leaving := self._leaving.get(device.path):
            await asyncio.wait([leaving])
        device.lock = session_lock.claim(_lock_of(device.path))

    def _never_opened(self, device: WhatsAppDevice, word: Word) -> None:
        self._refuse_waiting(device, "not connected")
        del self._devices[device.id]
        device.opened.set_result(False)
        self._unlock(device)
        self.engine.send(word)

    def _unlock(self, device: WhatsAppDevice) -> None:
        if device.lock >= 0:
            session_lock.let_go(device.lock, _lock_of(device.path))
            device.lock = -1

    # ----------------------------------------------------------------------------- clients come and go

    def _connect_anew(self, device: WhatsAppDevice, pause: float = 0.0) -> None:
        if device.state is not State.PAIRING and not device.renewing:
            device.state = State.CONNECTING
        if device.life:
            device.life.cancel()
        device.life = self._spawn(self._connect(device, pause))

    async def _connect(self, device: WhatsAppDevice, pause: float = 0.0) -> None:
        """Bring a client up, again and again until one is in. The rest is told by its events."""
        if device.ending:
            await asyncio.wait([device.ending])
        while True:
            await asyncio.sleep(pause)
            await self._wait_for_network(device)
            client = device.client = Client(device.id, device.path, device.jid, self._say)
            starting = self._spawn(self._start(client))
            await asyncio.wait([starting], timeout=ENTER_S)
            if not starting.done():
                await self._wait_for_slow(device, client, starting)
            if not client.ended.is_set():
                return
            await asyncio.wait([self._stopping(device, client)])
            pause = self._growing_pause(device)
            self._offline(device, _why_not(client.error))

    async def _wait_for_slow(self, device: WhatsAppDevice, client: Client, starting: asyncio.Task[None]) -> None:
        """A login that was refused in the instant before the library looked leaves it waiting for ever."""
        self._offline(device, "no answer from WhatsApp")
        try:
            gone = await self._store.identity(device.path) is None
        except StoreError:
            gone = False  # that it could not be read says nothing of it
        if gone:
            client.entered.set()
            self._unlinked(Unlinked(device.id, "removed on the phone"), device)
        await asyncio.wait([starting])

    async def _wait_for_network(self, device: WhatsAppDevice) -> None:
        pause = FIRST_LOOK_S
        while not await self._network.answers():
            self._offline(device, AWAY)
            await asyncio.sleep(pause * _jitter())
            pause = min(pause * 2, LAST_LOOK_S)

    async def _start(self, client: Client) -> None:
        """Returns when the client is connected, or has ended. Not to be cancelled: the gate is closed meanwhile."""
        arriving = [self._loop.create_task(event.wait()) for event in (client.entered, client.ended)]
        async with self._gate.alone():
            client.start()
            await asyncio.wait(arriving, timeout=ALONE_S, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(arriving, return_when=asyncio.FIRST_COMPLETED)
        for task in arriving:
            task.cancel()

    def _let_client_go(self, device: WhatsAppDevice) -> None:
        client, device.client = device.client, None
        if client is not None:
            self._stopping(device, client)

    def _stopping(self, device: WhatsAppDevice, client: Client) -> asyncio.Task[None]:
        device.client = None
        client.stopping = True
        device.ending = self._spawn(self._stop(client, linked=bool(device.jid or device.phone)))
        return device.ending

    async def _stop(self, client: Client, linked: bool) -> None:
        """The library must not be asked to stop a client that is not in yet: it would take the process along."""
        while not (client.entered.is_set() or client.ended.is_set()):
            await asyncio.sleep(0.05)
        self.cycles += 1
        async with self._gate.alone():
            stopping = self._loop.run_in_executor(self._threads, client.stop)
            await asyncio.wait([stopping], timeout=STOP_S)
        if linked:  # one that only showed codes never ends
            try:
                await asyncio.wait_for(client.ended.wait(), STOP_S)
            except TimeoutError:
                log.warning("a client did not end in %d s", STOP_S)

    def _growing_pause(self, device: WhatsAppDevice) -> float:
        device.retries += 1
        return min(FIRST_RETRY_S * 2 ** min(device.retries - 1, 10), LAST_RETRY_S) * _jitter()

    def _forget(self, device: WhatsAppDevice, why: str, copy: int = 0) -> None:
        self._interrupt(device, why)
        last_word = SnapshotTaken(device.id, copy, "") if copy else None
        self._leave(device, delete=device.state is State.PAIRING, last_word=last_word)

    def _leave(self, device: WhatsAppDevice, *, delete: bool, last_word: Word | None = None) -> None:
        """Close the session for good, in the background: nobody may have its file before the client has ended."""
        del self._devices[device.id]
        if device.life and device.life is not asyncio.current_task():
            device.life.cancel()
        if not device.opened.done():
            device.opened.set_result(False)
        before = self._leaving.get(device.path)
        leaving = self._leaving[device.path] = self._spawn(self._let_go(device, before, delete, last_word))

        def left(task: asyncio.Task[None]) -> None:
            if self._leaving.get(device.path) is leaving:
                del self._leaving[device.path]

        leaving.add_done_callback(left)

    async def _let_go(
        self, device: WhatsAppDevice, before: asyncio.Task[None] | None, delete: bool, last_word: Word | None
    ) -> None:
        if before:
            await asyncio.wait([before])
        self._let_client_go(device)
        if device.ending:
            await asyncio.wait([device.ending], timeout=2 * STOP_S)
            if not device.ending.done() and last_word is not None:
                self.engine.send(last_word)
                last_word = None
            await asyncio.wait([device.ending])
        if device.lock >= 0 and delete:
            session_store.delete(device.path)
        elif device.lock >= 0 and isinstance(last_word, SnapshotTaken):
            last_word = SnapshotTaken(device.id, last_word.request, await self._copy(device))
        self._unlock(device)
        if last_word is not None:
            self.engine.send(last_word)

    # ------------------------------------------------------------------------------- what clients say

    def _say(self, client: Client, word: Any) -> None:
        """Called from any thread; the engine's being slow slows the client down."""
        self._flow.wait()
        self._said.append((client, word))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._hear_all)

    def _hear_all(self) -> None:
        self._woken = False
        while self._said:
            self._hear(*self._said.popleft())

    def _hear(self, client: Client, word: Any) -> None:
        kind = type(word)
        if kind is Receipt:  # what a session heard counts, whatever has become of it since
            self.engine.send(word)
            return
        device = self._devices.get(client.device)
        if kind is Incoming:
            self._come_in(word, device)
            return
        if kind is library.Ended:
            client.error = word.error
            client.ended.set()
        elif kind in (library.Entered, library.Scannable, library.LinkStatus):
            client.entered.set()
        if device is None or device.client is not client:
            return
        if kind is OnTheWire:
            if device.flight is not None and device.flight is word.flight:
                self._on_the_wire(device, word.flight.wire_at)
        elif handler := self._events.get(kind):
            handler(word, device)

    def _come_in(self, word: Incoming, device: WhatsAppDevice | None) -> None:
        if word.sender == word.chat and word.chat.endswith("@lid") and device is not None:
            self._spawn(self._come_in_with_number(word, device.path))
        else:
            self.engine.send(word)

    async def _come_in_with_number(self, word: Incoming, path: Path) -> None:
        try:
            digits = await self._store.number_of(path, word.chat.removesuffix("@lid"))
        except StoreError as error:
            log.warning("a hidden id could not be looked up: %s", error)
            digits = ""
        word.sender = f"+{digits}" if digits else word.chat
        self.engine.send(word)

    def _logged_in(self, word: library.LoggedIn, device: WhatsAppDevice) -> None:
        if device.state in (State.UNLINKING, State.STOPPED):
            return
        if device.state is State.PAIRING:
            self.engine.send(Paired(device.id, device.phone))
        known = device.state is State.ONLINE
        device.state = State.ONLINE
        device.renewing = device.told_offline = False
        device.retries = 0
        device.why = ""
        if not known:
            self.engine.send(Online(device.id))
        self._next(device)

    def _offline(self, device: WhatsAppDevice, why: str) -> None:
        """What is on the wire may still be answered: the library repeats it when it is back within 5 s."""
        if device.state not in (State.ONLINE, State.CONNECTING):
            return
        device.state = State.CONNECTING
        device.renewing = False
        device.why = why
        self._refuse_waiting(device, "not connected")
        self._tell_offline(device, why)

    def _failed(self, word: library.Failed, device: WhatsAppDevice) -> None:
        if device.state is State.PAIRING:
            self._pairing_failed(device, "refused")
            return
        self._give_up(device, "websocket disconnected before the acknowledgement")
        self._offline(device, f"WhatsApp refuses the login: {word.reason}")
        self._let_client_go(device)
        self._connect_anew(device, self._growing_pause(device))

    def _fell(self, word: library.Ended, device: WhatsAppDevice) -> None:
        """The library's entry returned by itself, after it had connected."""
        if not device.client or not device.client.entered.is_set():
            if device.state is State.PAIRING:
                self._pairing_failed(device, AWAY if _why_not(word.error) == AWAY else "refused")
            return  # else whoever started the client sees it
        if device.state is State.PAIRING and not device.phone:
            self._pairing_failed(device, "refused")
            return
        log.warning("a client ended by itself")
        self._give_up(device, "websocket disconnected before the acknowledgement")
        self._offline(device, "connection cut")
        self._let_client_go(device)
        self._connect_anew(device, self._growing_pause(device))

    def _stopped(self, word: Word, device: WhatsAppDevice) -> None:
        if device.state is State.PAIRING:
            self._pairing_failed(device, "outdated" if isinstance(word, contract.Outdated) else "refused")
            return
        self._interrupt(device, "websocket disconnected before the acknowledgement")
        device.state = State.STOPPED
        device.renewing = False
        self._let_client_go(device)
        self.engine.send(word)

    def _unlinked(self, word: Unlinked, device: WhatsAppDevice) -> None:
        if device.state is State.PAIRING:
            self._pairing_failed(device, "refused")
            return
        self._interrupt(device, "websocket disconnected before the acknowledgement")
        self._leave(device, delete=True, last_word=word)

    # ------------------------------------------------------------------------------------------ sending

    def _transmit(self, device: WhatsAppDevice, command: Send) -> None:
        if device.renewing or device.client is None:
            device.waiting.appendleft(command)
            return
        device.in_flight = command
        flight = device.flight = Flight(command)
        device.wire_at = time.time()
        self._spawn(self._carry(device, device.client, flight))

    async def _carry(self, device: WhatsAppDevice, client: Client, flight: Flight) -> None:
        command = flight.command
        outcome: Outcome | None
        try:
            message = await self._compose(device, client, command)
            library.mark(message, command.tag)
            outcome = await self._call(client, self._send_now, client, flight, message)
        except Unsendable as problem:
            outcome = NotSent(command.device, command.message, command.tag, None, str(problem))
        if device.flight is not flight or outcome is None:
            return  # given up: it has its outcome already
        self._hear_all()  # what was said before comes before
        device.flight = device.in_flight = None
        self._tell(outcome)
        self._next(device)

    async def _compose(self, device: WhatsAppDevice, client: Client, command: Send) -> Any:
        """The message, its file already on WhatsApp's servers. Raises Unsendable."""
        media = command.media
        if media is None:
            return library.text_message(command.text)
        if media.kind == "audio" and command.text:
            raise Unsendable("WhatsApp has no texts beside audio")
        prepared = await self._loop.run_in_executor(self._threads, prepare, media)
        device.wire_at = time.time() + len(prepared.data) / SLOWEST_UPLOAD
        try:
            return await self._call(client, client.upload, media, prepared, command.text)
        except library.SendFailed as error:
            log.warning("an upload failed: %s", send_errors.verdict(str(error)).why)
            raise Unsendable("the file could not be uploaded") from error

    async def _call(self, client: Client, call: Callable[..., Any], *arguments: Any) -> Any:
        """A call of the library, in a thread. Raises Unsendable when the client is being stopped."""
        entry = await self._gate.enter()
        try:
            if client.stopping:
                raise Unsendable("not connected")
            return await self._loop.run_in_executor(self._threads, call, *arguments)
        finally:
            entry.leave()

    def _send_now(self, client: Client, flight: Flight, message: Any) -> Outcome | None:
        """In a thread. None when the loop had taken the message back."""
        flight.wire_at = time.time()
        if not flight.take():
            return None
        self._say(client, OnTheWire(flight))
        command = flight.command
        begun = (command.device, command.message, command.tag, flight.wire_at)
        try:
            acknowledged = client.send(command.to, message)
        except library.SendFailed as error:
            verdict = send_errors.verdict(str(error))
            if verdict.why == send_errors.STRANGE:
                log.warning("a send ended in words that are not in our table: %s", noise.mask(str(error)))
            if verdict.kind == "refused":
                return Refused(*begun, verdict.why, verdict.code)
            return (NotSent if verdict.kind == "not sent" else Unknown)(*begun, verdict.why)
        except Exception as problem:
            log.error("a send failed inside the library: %s", type(problem).__name__)
            return Unknown(*begun, "the library failed")
        if not acknowledged.id:
            return Unknown(*begun, "acknowledged without an id")
        return Sent(*begun, acknowledged.id, acknowledged.chat, time.time())

    def _give_up(self, device: WhatsAppDevice, why: str) -> None:
        flight, device.flight = device.flight, None
        if flight is None:
            return
        if flight.take():  # no thread will send it any more
            device.in_flight = None
            self._not_sent(flight.command, "not connected" if why != TIMED_OUT else "it took too long to prepare")
        else:
            device.wire_at = flight.wire_at
            super()._give_up(device, why)

    def _timed_out(self, device: WhatsAppDevice) -> None:
        """A call of the library goes on, and would keep the next ones waiting: the device gets a new client."""
        log.warning("a message was not answered in time; its client is replaced")
        self._give_up(device, TIMED_OUT)
        device.renewing = device.state is State.ONLINE
        self._let_client_go(device)
        self._connect_anew(device)

    # ------------------------------------------------------------------------------------------ pairing

    def _pair_anew(self, command: Pair) -> None:
        device = WhatsAppDevice(command.device, command.epoch, Path(command.session), State.PAIRING)
        device.links_phone = command.phone
        self._devices[device.id] = device
        device.life = self._spawn(self._link(device))

    async def _link(self, device: WhatsAppDevice) -> None:
        try:
            await self._claim(device)
        except session_lock.InUse:
            self._never_opened(device, PairFailed(device.id, "session in use"))
            return
        except OSError as error:
            self._never_opened(device, PairFailed(device.id, f"session file: {error.strerror}"))
            return
        device.opened.set_result(True)
        if not await self._network.answers():
            self._pairing_failed(device, AWAY)
            return
        session_store.delete(device.path)
        client = device.client = Client(device.id, device.path, "", self._say)
        starting = self._spawn(self._start(client))
        await asyncio.wait([starting], timeout=ENTER_S)
        if not starting.done():
            self._pairing_failed(device, AWAY)

    def _show_code(self, word: library.Scannable, device: WhatsAppDevice) -> None:
        first = device.code_until == 0.0
        life = FIRST_CODE_S if first else NEXT_CODE_S
        device.code_until = self._loop.time() + life
        self.engine.send(Qr(device.id, word.payload, life))
        if first and device.links_phone and device.client:
            self._spawn(self._ask_for_code(device, device.client))

    async def _ask_for_code(self, device: WhatsAppDevice, client: Client) -> None:
        try:
            code = await self._call(client, client.code_for, device.links_phone)
        except library.SendFailed:
            if device.client is client and device.state is State.PAIRING:
                self._pairing_failed(device, "refused")
        except Unsendable:
            pass  # closed meanwhile
        else:
            if device.client is client:
                self.engine.send(contract.Code(device.id, code))

    def _link_status(self, word: library.LinkStatus, device: WhatsAppDevice) -> None:
        if device.state is State.PAIRING and word.word != "success":
            self._pairing_failed(device, why_not_linked(word.word, device.code_until - self._loop.time()))

    def _linked(self, word: library.Linked, device: WhatsAppDevice) -> None:
        if device.state is not State.PAIRING:
            return
        if word.error:
            self._pairing_failed(device, "refused")
            return
        device.phone = word.phone
        self._loop.call_later(ENTER_S, self._login_overdue, device, device.client)

    def _login_overdue(self, device: WhatsAppDevice, client: Client | None) -> None:
        """Linked it is; when the login that follows does not come, a new client does it."""
        if device.client is client and device.state is State.PAIRING:
            self._let_client_go(device)
            device.life = self._spawn(self._log_in_after_linking(device))

    async def _log_in_after_linking(self, device: WhatsAppDevice) -> None:
        try:
            identity = await self._store.identity(device.path)
        except StoreError as error:
            self._pairing_failed(device, f"session file: {error}")
            return
        if identity is None:
            self._pairing_failed(device, "refused")
            return
        device.jid = identity["jid"]
        await self._connect(device)

    def _pairing_failed(self, device: WhatsAppDevice, why: str) -> None:
        if self._devices.get(device.id) is device:
            self._leave(device, delete=True, last_word=PairFailed(device.id, why))

    # ------------------------------------------------------------------------------- the rest of the contract

    def _unlink(self, command: contract.Unlink) -> None:
        device = self._devices.get(command.device)
        if device is None:
            self.engine.send(Unlinked(command.device, "no session"))
        elif device.state is not State.ONLINE or device.client is None:
            self._unlinked(Unlinked(device.id, DELETED_HERE), device)
        else:
            self._interrupt(device, "session closed")
            device.state = State.UNLINKING
            self._spawn(self._log_out(device, device.client))

    async def _log_out(self, device: WhatsAppDevice, client: Client) -> None:
        why = "logged out"
        try:
            await asyncio.wait_for(self._call(client, client.log_out), LOG_OUT_S)
        except (TimeoutError, library.SendFailed, Unsendable):
            why = DELETED_HERE
        if self._devices.get(device.id) is device:
            self._leave(device, delete=True, last_word=Unlinked(device.id, why))

    def _check_numbers(self, command: contract.CheckNumbers) -> None:
        self._spawn(self._look_numbers_up(command, self._devices.get(command.device)))

    async def _look_numbers_up(self, command: contract.CheckNumbers, device: WhatsAppDevice | None) -> None:
        found: dict[str, bool] = {}
        if device is not None and device.state is State.ONLINE and device.client is not None:
            client = device.client
            valid = [number for number in command.numbers if _E164.fullmatch(number)]
            found = dict.fromkeys(set(command.numbers).difference(valid), False)
            try:
                for start in range(0, len(valid), NUMBERS_A_CALL):
                    found |= await self._call(client, client.check, valid[start : start + NUMBERS_A_CALL])
            except (library.SendFailed, Unsendable) as error:
                log.warning("numbers could not be looked up: %s", send_errors.verdict(str(error)).why)
        self.engine.send(Numbers(command.device, command.request, found))

    def _snapshot(self, command: contract.Snapshot) -> None:
        self._spawn(self._take_snapshot(command, self._devices.get(command.device)))

    async def _take_snapshot(self, command: contract.Snapshot, device: WhatsAppDevice | None) -> None:
        linked = device is not None and device.state is not State.PAIRING and await device.opened
        path = await self._copy(device) if device is not None and linked else ""
        self.engine.send(SnapshotTaken(command.device, command.request, path))

    async def _copy(self, device: WhatsAppDevice) -> str:
        """The path of a copy of the session file; empty when there is none to be had."""
        try:
            return await self._store.snapshot(device.path)
        except StoreError as error:
            log.error("a snapshot failed: %s", error)
            return ""

    def _evidence(self, command: contract.Evidence) -> None:
        self._spawn(self._look_for_tags(command, self._devices.get(command.device)))

    async def _look_for_tags(self, command: contract.Evidence, device: WhatsAppDevice | None) -> None:
        ids: dict[str, str | None] = {}
        if device is not None and device.state is not State.PAIRING and await device.opened:
            try:
                ids = await self._store.ids(device.path, command.tags)
            except StoreError as error:
                log.error("a session file could not be searched: %s", error)
        self.engine.send(Found(command.device, command.request, ids))


def why_not_linked(status: str, code_left_s: float) -> str:
    """A word of PairFailed for the library's word. It says "timeout" of a lost connection, too."""
    match status:
        case "timeout":
            return "expired" if code_left_s < 1.0 else AWAY
        case "err-client-outdated":
            return "outdated"
        case _:
            return "refused"


def _why_not(error: str) -> str:
    """Why the library could not connect, in our words."""
    return "WhatsApp refuses the connection" if "status code" in error else AWAY


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _jitter() -> float:
    return random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, no secret
