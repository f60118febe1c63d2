"""The simulated network: WhatsApp and everybody's phones, one process for all simulated gateways.

It speaks the contract, with a session's id where an engine would name its file. Before it acknowledges a message
it writes it to the ledger, the witness of what was really sent that the product itself never reads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import hashlib
import heapq
import logging
import os
import secrets
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import uvloop

from devices.gateway import contract, process
from devices.gateway.contract import (
    Banned,
    Code,
    Incoming,
    IncomingKind,
    NotSent,
    Numbers,
    Offline,
    Online,
    Open,
    Outdated,
    Pair,
    Paired,
    PairFailed,
    Qr,
    Receipt,
    Refused,
    Replaced,
    Send,
    Sent,
    Unlinked,
    Word,
)
from devices.gateway.link import Link
from devices.gateway.phones import Refusal, serve_phones
from devices.gateway.session_file import message_id

MAILBOX = 1000
FILES_SHOWN = 1000
CODES_PER_PAIRING = 5
REFUSALS = (405, 420, 479)  # of messages; what refuses the number itself comes by a rule
STOP_WORDS = ("STOP", "Stop", "BERHENTI", "stop please", "Unsubscribe")
REPLIES = (
    "Hi, yes I am interested",
    "How much is it?",
    "Ok thanks",
    "Boleh hantar details?",
    "Is this still available?",
    "Terima kasih 🙏",
    "Call me tomorrow please",
)

log = logging.getLogger("network")


def option(default: float, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Behaviour:
    """How the network and its people behave; each field is an option of the command line. Shares are 0 to 1."""

    seed: int = option(1, "the same seed and the same tags and numbers give the same answers")
    ack_ms: float = option(150, "shortest time to an acknowledgement")
    jitter_ms: float = option(450, "up to this much more")
    delivered_ms: float = option(1000, "from acknowledged to delivered: this to three times this")
    delivered_share: float = option(1.0, "messages that reach the phone")
    read_ms: float = option(20000, "from delivered to read: up to this")
    read_share: float = option(0.5, "delivered messages that are read")
    reply_ms: float = option(15000, "from delivered to a reply: a fifth of this to this")
    reply_share: float = option(0.04, "delivered messages that are answered")
    stop_share: float = option(0.005, "people who answer with a stop word")
    refuse_share: float = option(0.0, "messages refused with an error code")
    lost_ack_share: float = option(0.0, "messages sent whose acknowledgement never comes")
    unregistered_share: float = option(0.0, "numbers that are not on WhatsApp")
    slow_share: float = option(0.0, "devices that answer late")
    slow_ms: float = option(10000, "how late")
    dead_share: float = option(0.0, "devices that never answer and send nothing")
    first_code_s: float = option(60, "life of a pairing's first code")
    next_code_s: float = option(20, "life of the later ones")


class Agenda:
    """Calls to make later, gathered in slots of a millisecond: no timer and no task for each message."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: dict[int, list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Make the call in the slot after `seconds` from now; calls of one slot keep their order."""
        slot = int((self._loop.time() + seconds) * 1000) + 1
        calls = self._slots.get(slot)
        if calls is None:
            self._slots[slot] = calls = []
            heapq.heappush(self._order, slot)
            if self._order[0] == slot:
                self._wake_at(slot)
        calls.append((call, arguments))

    def _wake_at(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(slot / 1000, self._run)

    def _run(self) -> None:
        self._timer = None
        now = int(self._loop.time() * 1000)
        while self._order and self._order[0] <= now:
            for call, arguments in self._slots.pop(heapq.heappop(self._order)):
                try:
                    call(*arguments)
                except Exception:
                    log.exception("a planned call failed")
        if self._order:
            self._wake_at(self._order[0])


class Ledger:
    """`time device epoch tag sha256(text) left`, a line a message, appended before the message is acknowledged.

    `time` is when it arrived here, `left` when its gateway says it left: a busy machine puts time between the two.
    Raises BlockingIOError when another network writes this ledger.
    """

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._unwritten: list[str] = []

    def add(self, send: Send, now: float) -> None:
        digest = hashlib.sha256(send.text.encode()).hexdigest()
        self._unwritten.append(f"{now:.6f} {send.device} {send.epoch} {send.tag.hex()} {digest} {send.wire_at:.6f}\n")

    def write(self) -> None:
        """Put what was added into the file. Raises OSError (disk full): then nothing may be acknowledged."""
        if not self._unwritten:
            return
        data = memoryview("".join(self._unwritten).encode())
        while data:
            data = data[os.write(self._descriptor, data) :]
        self.lines += len(self._unwritten)
        self._unwritten.clear()


class Dice:
    """Chances drawn from the seed and a name, so that the same message meets the same fate in every run."""

    _SIDES = struct.Struct("<8H")

    def __init__(self, seed: int) -> None:
        self._key = str(seed).encode()[:64]

    def throw(self, name: bytes) -> tuple[float, ...]:
        """Eight numbers from 0 up to but not including 1."""
        digest = hashlib.blake2b(name, digest_size=16, key=self._key).digest()
        return tuple([side / 65536 for side in self._SIDES.unpack(digest)])


@dataclass
class Rule:
    """What a test or a fault wants to happen to messages that match all of the given fields."""

    to: str = ""
    phone: str = ""
    text: str = ""
    refuse: int = 0
    not_sent: str = ""
    lost_ack: bool = False
    dead: bool = False
    delay_s: float = 0.0
    times: int = -1

    def applies(self, phone: str, send: Send) -> bool:
        return (
            self.times != 0
            and (not self.to or self.to == send.to)
            and (not self.phone or self.phone == phone)
            and (not self.text or self.text in send.text)
        )


NO_RULE = Rule()


class Account:
    """A phone with WhatsApp on it: its newest session, and what waits for it while none is connected."""

    __slots__ = ("away_until", "banned_until", "dead", "late_s", "mailbox", "phone", "poisoned", "session")

    def __init__(self, phone: str, late_s: float, dead: bool) -> None:
        self.phone = phone
        self.late_s = late_s
        self.dead = dead
        self.session: Session | None = None
        self.poisoned = False
        self.banned_until = 0.0
        self.away_until = 0.0
        self.mailbox: deque[Receipt | Incoming] = deque(maxlen=MAILBOX)

    def deliver(self, event: Receipt | Incoming) -> None:
        if self.session is None:
            self.mailbox.append(event)
        else:
            event.device = self.session.device
            self.session.link.send(event)


class Session:
    """A login: this account, over this connection, under this device number."""

    __slots__ = ("account", "connection", "device", "id", "link")

    def __init__(self, connection: Connection, device: int, account: Account, id: str) -> None:
        self.connection = connection
        self.link = connection.link
        self.device = device
        self.account = account
        self.id = id

    @property
    def current(self) -> bool:
        return self.account.session is self

    def end(self, event: Word | None) -> None:
        """Cut this login off and say why."""
        if self.current:
            self.account.session = None
        self.connection.sessions.pop(self.device, None)
        if event is not None:
            self.link.send(event)


class Pairing:
    """A gateway showing codes, waiting for a phone to scan one."""

    __slots__ = ("code", "connection", "device", "payload", "session_id", "shown")

    def __init__(self, connection: Connection, request: Pair) -> None:
        self.connection = connection
        self.device = request.device
        self.session_id = request.session
        self.payload = ""
        self.code = ""
        self.shown = 0

    @property
    def current(self) -> bool:
        return self.connection.pairings.get(self.device) is self


class Connection:
    """One gateway."""

    def __init__(self, network: Network) -> None:
        self.sessions: dict[int, Session] = {}
        self.pairings: dict[int, Pairing] = {}
        self.link = Link(
            contract.Command,
            on_words=lambda commands: network.hear(self, commands),
            on_lost=lambda: network.lost(self),
            on_congested=lambda congested: self.link.hold(congested),
        )

    def abort(self) -> None:
        """Have the gateway die as of an error of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.link.peer, signal.SIGABRT)


class Network:
    """Accounts, logins and messages. Accepts any session it does not know, so it survives its own restart."""

    def __init__(self, behaviour: Behaviour, ledger: Ledger) -> None:
        self.behaviour = behaviour
        self.ledger = ledger
        self.accounts: dict[str, Account] = {}
        self.connections: set[Connection] = set()
        self.rules: list[Rule] = []
        self.outdated = False
        self.failed: OSError | None = None
        self.ended = asyncio.Event()
        self._unlinked: set[str] = set()
        self._pairings: dict[str, Pairing] = {}
        self._dice = Dice(behaviour.seed)
        self._files: deque[dict[str, str]] = deque(maxlen=FILES_SHOWN)
        self._agenda = Agenda()
        self._handlers: dict[type, Callable[[Connection, Any], None]] = {
            contract.Send: self._receive,
            contract.Open: self._log_in,
            contract.Close: self._log_out,
            contract.Pair: self._pair,
            contract.Unlink: self._unlink,
            contract.CheckNumbers: self._check_numbers,
        }

    def connect(self) -> Link:
        connection = Connection(self)
        self.connections.add(connection)
        return connection.link

    def hear(self, connection: Connection, commands: list[Any]) -> None:
        """Obey a batch. The ledger is written before the loop turns, and no answer leaves before that."""
        handlers = self._handlers
        for command in commands:
            handlers[type(command)](connection, command)
        try:
            self.ledger.write()
        except OSError as error:
            # Without its witness nothing may be acknowledged: stop without another word to anybody
            self.failed = error
            for other in self.connections:
                other.link.abort()
            self.ended.set()

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        for session in list(connection.sessions.values()):
            session.end(None)
        for pairing in list(connection.pairings.values()):
            self._end_pairing(pairing)

    # ------------------------------------------------------------------------------------------- sessions

    def account(self, phone: str) -> Account:
        account = self.accounts.get(phone)
        if account is None:
            slow, dead, *_ = self._dice.throw(b"device " + phone.encode())
            late_s = self.behaviour.slow_ms / 1000 if slow < self.behaviour.slow_share else 0.0
            account = self.accounts[phone] = Account(phone, late_s, dead < self.behaviour.dead_share)
        return account

    def _log_in(self, connection: Connection, command: Open) -> None:
        account = self.account(command.phone)
        now = time.time()
        if account.poisoned:
            connection.abort()
        elif command.session in self._unlinked:
            connection.link.send(Unlinked(command.device, "removed on the phone"))
        elif account.banned_until > now:
            connection.link.send(Banned(command.device, account.banned_until, "temporarily banned"))
        elif self.outdated:
            connection.link.send(Outdated(command.device))
        elif account.away_until > now:
            connection.link.send(Offline(command.device, "connection cut"))
        else:
            self._start_session(connection, command.device, account, command.session)

    def _start_session(self, connection: Connection, device: int, account: Account, id: str) -> None:
        for older in (connection.sessions.get(device), account.session):
            if older is not None:
                same = older.connection is connection and older.device == device
                older.end(None if same else Replaced(older.device))
        account.session = connection.sessions[device] = Session(connection, device, account, id)
        connection.link.send(Online(device))
        while account.mailbox:
            account.deliver(account.mailbox.popleft())

    def _log_out(self, connection: Connection, command: contract.Close) -> None:
        if session := connection.sessions.get(command.device):
            session.end(None)
        if pairing := connection.pairings.get(command.device):
            self._end_pairing(pairing)

    def _unlink(self, connection: Connection, command: contract.Unlink) -> None:
        if session := connection.sessions.get(command.device):
            self._unlinked.add(session.id)
            session.end(Unlinked(command.device, "logged out"))

    def _check_numbers(self, connection: Connection, command: contract.CheckNumbers) -> None:
        found = {}
        if command.device in connection.sessions:
            found = {number: self._registered(number) for number in command.numbers}
        connection.link.send(Numbers(command.device, command.request, found))

    # -------------------------------------------------------------------------------------------- pairing

    def _pair(self, connection: Connection, command: Pair) -> None:
        pairing = connection.pairings[command.device] = Pairing(connection, command)
        self._show_code(pairing, 0)
        if command.phone:
            letters = [secrets.choice("123456789ABCDEFGHJKLMNPQRSTVWXYZ") for _ in range(8)]
            pairing.code = "".join(letters[:4]) + "-" + "".join(letters[4:])
            self._pairings[pairing.code] = pairing
            connection.link.send(Code(pairing.device, pairing.code))

    def _show_code(self, pairing: Pairing, shown: int) -> None:
        """Renew the code; called again when it expires. `shown` says which code the call was planned behind."""
        if not pairing.current or pairing.shown != shown:
            return
        self._pairings.pop(pairing.payload, None)
        if pairing.shown == CODES_PER_PAIRING:
            pairing.connection.link.send(PairFailed(pairing.device, "expired"))
            self._end_pairing(pairing)
            return
        pairing.shown += 1
        parts = ",".join(secrets.token_urlsafe(32) for _ in range(4))
        pairing.payload = f"https://wa.me/settings/linked_devices#2@{parts}"
        self._pairings[pairing.payload] = pairing
        life = self.behaviour.first_code_s if pairing.shown == 1 else self.behaviour.next_code_s
        pairing.connection.link.send(Qr(pairing.device, pairing.payload, life))
        self._agenda.after(life, self._show_code, pairing, pairing.shown)

    def _end_pairing(self, pairing: Pairing) -> None:
        self._pairings.pop(pairing.payload, None)
        self._pairings.pop(pairing.code, None)
        if pairing.current:
            del pairing.connection.pairings[pairing.device]

    def scan(self, payload: str, phone: str | None) -> str:
        """A person scans the code with `phone`, or with a number nobody has yet. Raises Refusal."""
        pairing = self._pairings.get(payload)
        if pairing is None:
            raise Refusal("this code is not valid any more")
        account = self.account(phone or self._unused_number())
        if account.banned_until > time.time():
            raise Refusal("this phone is banned")
        self._end_pairing(pairing)
        pairing.connection.link.send(Paired(pairing.device, account.phone))
        self._start_session(pairing.connection, pairing.device, account, pairing.session_id)
        return account.phone

    def _unused_number(self) -> str:
        while True:
            phone = f"+601{secrets.choice('236789')}{2_000_000 + secrets.randbelow(8_000_000)}"
            if phone not in self.accounts:
                return phone

    # ------------------------------------------------------------------------------------------- messages

    def _receive(self, connection: Connection, send: Send) -> None:
        session = connection.sessions.get(send.device)
        if session is None:
            why = "websocket not connected"
            connection.link.send(NotSent(send.device, send.message, send.tag, None, why))
            return
        account, behaviour = session.account, self.behaviour
        rule = self._rule(account.phone, send) if self.rules else NO_RULE
        if rule.dead or account.dead:
            return
        luck = self._dice.throw(send.tag)
        delay = (behaviour.ack_ms + luck[0] * behaviour.jitter_ms) / 1000 + account.late_s + rule.delay_s
        event: Sent | NotSent | Refused
        if rule.not_sent or not self._registered(send.to):
            why = rule.not_sent or "no LID found for the number"
            event = NotSent(send.device, send.message, send.tag, None, why)
        elif send.media is not None and not self._take_in(send, send.media):
            event = NotSent(send.device, send.message, send.tag, None, "the file cannot be read")
        elif rule.refuse or luck[1] < behaviour.refuse_share:
            code = rule.refuse or REFUSALS[int(luck[2] * len(REFUSALS))]
            why = f"server returned error {code}"
            event = Refused(send.device, send.message, send.tag, None, why, code)
        else:
            self.ledger.add(send, time.time())
            event = Sent(send.device, send.message, send.tag, None, message_id(send.tag), chat_of(send.to), 0.0)
            lost = rule.lost_ack or luck[3] < behaviour.lost_ack_share
            self._agenda.after(delay, self._accept, session, event, send.to, luck, lost)
            return
        self._agenda.after(delay, self._answer, session, event)

    def _take_in(self, send: Send, media: contract.Media) -> bool:
        """The file arrives with its message: what it was is remembered for whoever plays the phones."""
        try:
            digest = digest_of(media.path)
        except OSError:
            return False
        told = {"kind": media.kind, "mime": media.mime, "name": media.name, "sha256": digest}
        self._files.append({"tag": send.tag.hex(), "to": send.to, "caption": send.text, **told})
        return True

    def _rule(self, phone: str, send: Send) -> Rule:
        for rule in self.rules:
            if rule.applies(phone, send):
                rule.times -= 1
                return rule
        return NO_RULE

    def _registered(self, number: str) -> bool:
        digits = number.removesuffix("@lid") if number.endswith("@lid") else number.removeprefix("+")
        if not (digits.isascii() and digits.isdigit()):
            return False
        share = self.behaviour.unregistered_share
        return share == 0 or self._dice.throw(number_of(number).encode())[0] >= share

    def _answer(self, session: Session, event: NotSent | Refused) -> None:
        if session.current:
            session.link.send(event)

    def _accept(self, session: Session, event: Sent, to: str, luck: tuple[float, ...], lost: bool) -> None:
        """The server has it: acknowledge, and let it travel on to the phone whatever becomes of the session."""
        event.at = time.time()
        if session.current and not lost:
            session.link.send(event)
        if luck[4] < self.behaviour.delivered_share:
            delay = self.behaviour.delivered_ms * (1 + 2 * luck[5]) / 1000
            self._agenda.after(delay, self._reach, session.account, event.id, event.chat, to, luck)

    def _reach(self, account: Account, id: str, chat: str, to: str, luck: tuple[float, ...]) -> None:
        """It arrives on the person's phone, who may read it and answer."""
        account.deliver(Receipt(0, [id], chat, "delivered", time.time()))
        behaviour = self.behaviour
        answer = self._answer_to(to, luck)
        if answer or luck[6] < behaviour.read_share:
            wait = luck[5] * (min(behaviour.read_ms, behaviour.reply_ms / 5) if answer else behaviour.read_ms)
            self._agenda.after(wait / 1000, self._read, account, id, chat)
        if answer:
            wait = behaviour.reply_ms * (0.2 + 0.8 * luck[5])
            self._agenda.after(wait / 1000, self.write_to, account, number_of(to), answer, id)

    def _answer_to(self, to: str, luck: tuple[float, ...]) -> str:
        if self.behaviour.stop_share:
            person = self._dice.throw(number_of(to).encode())
            if person[1] < self.behaviour.stop_share:
                return STOP_WORDS[int(person[2] * len(STOP_WORDS))]
        if luck[7] < self.behaviour.reply_share:
            return REPLIES[int(luck[2] * len(REPLIES))]
        return ""

    def _read(self, account: Account, id: str, chat: str) -> None:
        account.deliver(Receipt(0, [id], chat, "read", time.time()))

    def write_to(self, account: Account, sender: str, text: str, quoted: str = "", kind: IncomingKind = "text") -> None:
        """A person writes to the account's phone, or sends it something else than a text."""
        id = "3A" + secrets.token_hex(9).upper()
        account.deliver(Incoming(0, chat_of(sender), sender, id, text, time.time(), quoted, kind))

    # --------------------------------------------------------------------------------------------- faults

    def known(self, phone: str) -> Account:
        """The account of a phone that has been seen. Raises Refusal."""
        if phone not in self.accounts:
            raise Refusal("no such phone")
        return self.accounts[phone]

    def ban(self, phone: str, seconds: float) -> None:
        account = self.known(phone)
        account.banned_until = time.time() + seconds
        if seconds > 0 and (session := account.session):
            session.end(Banned(session.device, account.banned_until, "temporarily banned"))

    def unlink(self, phone: str) -> None:
        session = self.known(phone).session
        if session is None:
            raise Refusal("this phone has no session")
        self._unlinked.add(session.id)
        session.end(Unlinked(session.device, "removed on the phone"))

    def add_rule(self, match: dict[str, str], effect: dict[str, Any]) -> None:
        """Raises TypeError for a field that Rule does not have."""
        wanted: dict[str, Any] = {**match, **effect}
        self.rules.append(Rule(**wanted))

    def drop(self, phone: str, seconds: float) -> None:
        account = self.known(phone)
        account.away_until = time.time() + seconds
        if session := account.session:
            session.end(Offline(session.device, "connection cut"))

    def state(self) -> dict[str, Any]:
        logins = [session for connection in self.connections for session in connection.sessions.values()]
        showing = {pairing.device: pairing.payload for pairing in self._pairings.values()}
        return {
            "gateways": len(self.connections),
            "ledger_lines": self.ledger.lines,
            "rules": len(self.rules),
            "files": list(self._files),
            "outdated": self.outdated,
            "sessions": [{"device": login.device, "phone": login.account.phone} for login in logins],
            "pairings": [{"device": device, "payload": payload} for device, payload in showing.items()],
        }


@lru_cache(maxsize=256)
def digest_of(path: str) -> str:
    """sha256 of a file whose name stands for its content. Raises OSError; then it is read anew the next time."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def chat_of(to: str) -> str:
    """The chat a number's messages belong to. Not the number: WhatsApp names chats by an id of its own (LID)."""
    return to if to.endswith("@lid") else f"{int(to) * 7919}@lid"


def number_of(to: str) -> str:
    """The number behind a number or chat, the way back from `chat_of`."""
    return f"+{int(to.removesuffix('@lid')) // 7919}" if to.endswith("@lid") else to


def _listen(path: str) -> socket.socket:
    """A 0600 socket at `path`, in place of a dead one. Raises SystemExit when somebody answers there."""
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(path) == 0:
            raise SystemExit("another simulated network answers on this socket")
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.setblocking(False)
    return listener


async def _serve(arguments: argparse.Namespace, behaviour: Behaviour, ledger: Ledger) -> None:
    loop = asyncio.get_running_loop()
    network = Network(behaviour, ledger)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, network.ended.set)
    gateways = await loop.create_unix_server(network.connect, sock=_listen(arguments.socket), backlog=512)
    control = await serve_phones(network, _listen(arguments.control)) if arguments.control else None
    log.info("network is up")
    gc.freeze()
    await network.ended.wait()
    gateways.close()
    if control is not None:
        control.close()
    for connection in list(network.connections):
        connection.link.close()
    log.info("network ended with %d messages in its ledger", ledger.lines)
    if network.failed is not None:
        raise SystemExit(f"ledger cannot be written: {network.failed.strerror}")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="simulator --network", description=__doc__)
    parser.add_argument("--socket", required=True, help="where gateways connect")
    parser.add_argument("--control", default="", help="where the phones are played from")
    parser.add_argument("--ledger", required=True, type=Path)
    for knob in fields(Behaviour):
        parser.add_argument(
            f"--{knob.name.replace('_', '-')}",
            type=int if knob.name == "seed" else float,
            default=knob.default,
            help=knob.metadata["help"] + " (%(default)s)",
        )
    arguments = parser.parse_args(argv)
    behaviour = Behaviour(**{knob.name: getattr(arguments, knob.name) for knob in fields(Behaviour)})
    process.log_to_stderr("network")
    process.raise_open_files()
    try:
        ledger = Ledger(arguments.ledger)
    except BlockingIOError:
        raise SystemExit("another simulated network writes this ledger") from None
    uvloop.run(_serve(arguments, behaviour, ledger))
