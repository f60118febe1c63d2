"""One linked device in neonize, the library that speaks WhatsApp: its thread, its calls, what it says.

Everything here is either called in a thread of its own, because it blocks, or called by the library on the client's
thread. What the library says becomes words of the contract, and a few of ours for the stages of a login.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from neonize import NewClient
from neonize._binder import func_callback_bytes, func_callback_bytes2, func_string, gocode
from neonize.events import EVENT_TO_INT, INT_TO_EVENT
from neonize.exc import NeonizeError
from neonize.proto import Neonize_pb2 as said
from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import (
    AudioMessage,
    DocumentMessage,
    ImageMessage,
    Message,
    VideoMessage,
)
from neonize.utils.enum import MediaType
from neonize.utils.jid import Jid2String, JIDToNonAD, build_jid

from devices.gateway import contract, noise
from devices.gateway.contract import Media
from devices.gateway.media import Prepared

# The library opens `file:{name}?_foreign_keys=on`: what follows the path here becomes parameters of SQLite
_PARAMETERS = "?_foreign_keys=on&_journal_mode=WAL&_busy_timeout=30000&_txlock=immediate&_x="
_USERS = ("s.whatsapp.net", "lid")
_BAN_REASONS = {
    1: "too many messages to people who do not know the number",
    2: "blocked by too many people",
    3: "too many groups",
    4: "the same message to too many people",
    5: "too many messages to a broadcast list",
}
_LOGOUTS = {
    0: "removed on the phone",
    said.MAIN_DEVICE_GONE: "WhatsApp has locked the account",
    said.UNKNOWN_LOGOUT: "WhatsApp has banned the account",
}
_PROPS = DeviceProps(os="Flotilla", platformType=DeviceProps.CHROME).SerializeToString()

log = logging.getLogger("gateway")


# -------------------------------------------------------------------------- what a client says beside the contract


class Entered(NamedTuple):
    """Connected, before anybody knows whether the login is accepted. The library is past its unlocked maps."""


class LoggedIn(NamedTuple):
    pass


class CutOff(NamedTuple):
    """The connection is lost; the library reconnects by itself."""


class Silent(NamedTuple):
    """No answer to the library's pings; it will reconnect by itself."""


class Failed(NamedTuple):
    """WhatsApp refuses the login, in a way that the library does not try again."""

    reason: str


class Scannable(NamedTuple):
    payload: str


class LinkStatus(NamedTuple):
    """How the phase of codes ended, in the library's word: success, timeout, error, err-…"""

    word: str


class Linked(NamedTuple):
    """`phone` in E.164; `error` is empty when it worked."""

    phone: str
    error: str


class Ended(NamedTuple):
    """The library's entry has returned; `error` is empty after a stop."""

    error: str


class Acknowledged(NamedTuple):
    id: str
    chat: str


class SendFailed(Exception):
    """In the library's words."""


# ------------------------------------------------------------------------------------------------------ the client


class Client:
    """`hear(client, word)` is called from the client's own thread, which waits as long as it takes.

    `jid` is the linked device in the file at `path`; without one the client shows codes to link it. `start` and `stop`
    want the gate alone, the calls want to pass it.
    """

    _number = 0

    def __init__(self, device: int, path: Path, jid: str, hear: Callable[[Client, Any], None]) -> None:
        Client._number += 1
        self.device = device
        self.stopping = False
        self.entered = asyncio.Event()  # both are the loop's, set when it is told
        self.ended = asyncio.Event()
        self.error = ""
        self._jid = jid
        self._hear = hear
        # A name of its own for every client: the library's stop of an old one must never meet a newer one
        self._library = NewClient(quote(str(path)) + _PARAMETERS, uuid=f"{device}-{Client._number}")
        self._library._stop_finalizer.detach()
        self._listening = bytearray(EVENT_TO_INT[event] for event in _TRANSLATIONS)
        self._callbacks = (
            func_string(self._on_code),
            func_string(self._on_link_status),
            func_callback_bytes(self._on_event),
            func_callback_bytes2(_on_log),
            (ctypes.c_char * len(self._listening)).from_buffer(self._listening),
        )

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"client-{self.device}", daemon=True).start()

    def _run(self) -> None:
        """What the library's `connect` does, without the second thread that it has look at the first."""
        on_code, on_status, on_event, on_log, listening = self._callbacks
        jid = _jid(self._jid).SerializeToString() if self._jid else b""
        try:
            error = gocode.Neonize(
                self._library.name.encode(), self._library.uuid, jid, len(jid), int(not self._jid), b"WARN",
                on_code, on_status, on_event, on_log, listening, len(self._listening),
                _PROPS, len(_PROPS), b"", 0, None,
            )  # fmt: skip
        except Exception as problem:
            log.exception("the library's entry failed")
            error = type(problem).__name__.encode()
        self._hear(self, Ended(error.decode(errors="replace")))

    def stop(self) -> None:
        """Disconnect for good; Ended follows, except from a client that still shows codes."""
        self._library.stop()

    # ------------------------------------------------------------------------------------------------- calls

    def send(self, to: str, message: Message) -> Acknowledged:
        """Returns when WhatsApp has acknowledged. Raises SendFailed."""
        try:
            response = self._library.send_message(build_jid(to.lstrip("+")), message)
        except NeonizeError as error:
            raise SendFailed(str(error)) from error
        return Acknowledged(response.ID, Jid2String(JIDToNonAD(response.Chat)))

    def upload(self, media: Media, prepared: Prepared, caption: str) -> Message:
        """Put the file on WhatsApp's servers and make the message that points to it. Raises SendFailed."""
        kind = {"image": MediaType.MediaImage, "video": MediaType.MediaVideo, "audio": MediaType.MediaAudio}
        try:
            stored = self._library.upload(prepared.data, kind.get(media.kind, MediaType.MediaDocument))
        except NeonizeError as error:
            raise SendFailed(str(error)) from error
        where: dict[str, Any] = {
            "URL": stored.url,
            "directPath": stored.DirectPath,
            "mediaKey": stored.MediaKey,
            "fileEncSHA256": stored.FileEncSHA256,
            "fileSHA256": stored.FileSHA256,
            "fileLength": stored.FileLength,
            "mimetype": prepared.mime,
        }
        preview = {"JPEGThumbnail": prepared.preview} if prepared.preview else {}
        length = {"seconds": prepared.seconds} if prepared.seconds else {}
        words = {"caption": caption} if caption else {}
        match media.kind:
            case "image":
                return Message(imageMessage=ImageMessage(**where, **words, **preview))
            case "video":
                return Message(videoMessage=VideoMessage(**where, **words, **preview, **length))
            case "audio":
                return Message(audioMessage=AudioMessage(**where, **length))
            case "document":
                name = {"fileName": media.name, "title": media.name} if media.name else {}
                return Message(documentMessage=DocumentMessage(**where, **words, **name))

    def check(self, numbers: list[str]) -> dict[str, bool]:
        """Which E.164 numbers are on WhatsApp, without those it says nothing of. Raises SendFailed."""
        try:
            return {answer.Query: answer.IsIn for answer in self._library.is_on_whatsapp(*numbers)}
        except NeonizeError as error:
            raise SendFailed(str(error)) from error

    def code_for(self, phone: str) -> str:
        """The eight characters to type on the phone instead of a scan. Raises SendFailed."""
        try:
            return self._library.PairPhone(phone.lstrip("+"), True)
        except NeonizeError as error:
            raise SendFailed(str(error)) from error

    def log_out(self) -> None:
        """Remove the linked device on the phone too. Raises SendFailed."""
        try:
            self._library.logout()
        except NeonizeError as error:
            raise SendFailed(str(error)) from error

    # ------------------------------------------------------------------------------- what the library calls

    def _on_code(self, uuid: int, payload: int) -> None:
        self._hear(self, Scannable(ctypes.string_at(payload).decode()))

    def _on_link_status(self, uuid: int, word: int) -> None:
        self._hear(self, LinkStatus(ctypes.string_at(word).decode()))

    def _on_event(self, uuid: int, data: int, size: int, code: int) -> None:
        if code == 0:
            self._hear(self, Entered())
            return
        kind = INT_TO_EVENT.get(code)
        translate = _TRANSLATIONS.get(kind) if kind else None
        if kind is None or translate is None:
            return
        try:
            word = translate(self.device, kind.FromString(ctypes.string_at(data, size)))
        except Exception as problem:  # else ctypes prints it, with whatever it is about
            log.error("a %s could not be read: %s", kind.__name__, type(problem).__name__)
            return
        if word is not None:
            self._hear(self, word)


def text_message(text: str) -> Message:
    """A plain text; the library makes a link preview only of texts it is not given in this form."""
    return Message(conversation=text)


def mark(message: Message, tag: bytes) -> None:
    """Give the message the secret by which it is found again in the session file."""
    message.messageContextInfo.messageSecret = tag


def number_in(jid: str) -> str:
    """The E.164 number of a JID such as 60123456789:5@s.whatsapp.net."""
    return "+" + jid.partition("@")[0].partition(":")[0].partition(".")[0]


def _jid(text: str) -> said.JID:
    user, _, server = text.partition("@")
    user, _, device = user.partition(":")
    user, _, agent = user.partition(".")
    jid = build_jid(user, server)
    jid.Device, jid.RawAgent = int(device or 0), int(agent or 0)
    return jid


def _on_log(data: int, size: int) -> None:
    """The library's own log, from WARN on."""
    try:
        entry = said.LogEntry.FromString(ctypes.string_at(data, size))
        noise.log.warning("%s: %s", entry.Name, noise.mask(entry.Message))
    except Exception as problem:
        log.error("the library's log could not be read: %s", type(problem).__name__)


# --------------------------------------------------------------------------------------------- events, translated


def _receipt(device: int, event: Any) -> contract.Receipt | None:
    kinds = {said.Receipt.DELIVERED: "delivered", said.Receipt.READ: "read"}
    source, kind = event.MessageSource, kinds.get(event.Type)
    if kind is None or source.IsGroup or source.IsFromMe or source.Chat.Server not in _USERS:
        return None
    chat = Jid2String(JIDToNonAD(source.Chat))
    return contract.Receipt(device, list(event.MessageIDs), chat, kind, _instant(event.Timestamp))  # type: ignore[arg-type]


def _incoming(device: int, event: Any) -> contract.Incoming | None:
    source = event.Info.MessageSource
    if source.IsFromMe or source.IsGroup or source.Chat.Server not in _USERS:
        return None
    kind, text, quoted = _content(event.Message)
    if not kind:
        return None
    chat = Jid2String(JIDToNonAD(source.Chat))
    numbers = [jid for jid in (source.Sender, source.SenderAlt) if jid.Server == "s.whatsapp.net" and jid.User]
    sender = number_in(numbers[0].User) if numbers else chat
    at = _instant(event.Info.Timestamp // 1000)
    return contract.Incoming(device, chat, sender, event.Info.ID, text, at, quoted, kind)  # type: ignore[arg-type]


def _content(message: Any) -> tuple[str, str, str]:
    """Kind, text and quoted id; no kind for what no person wrote, such as keys and settings."""
    if message.HasField("protocolMessage"):  # a person may mend a message: what counts is what it says now
        return _content(message.protocolMessage.editedMessage)
    if message.conversation:
        return "text", message.conversation, ""
    for field, kind, text in _FIELDS:
        if message.HasField(field):
            part = getattr(message, field)
            quoted = part.key.ID if kind == "reaction" else part.contextInfo.stanzaID
            return kind, getattr(part, text) if text else "", quoted
    others = {name.name for name, _ in message.ListFields()} - _NOT_WRITTEN
    return ("other", "", "") if others else ("", "", "")


_FIELDS = (
    ("extendedTextMessage", "text", "text"),
    ("imageMessage", "image", "caption"),
    ("videoMessage", "video", "caption"),
    ("ptvMessage", "video", ""),
    ("audioMessage", "audio", ""),
    ("documentMessage", "document", "caption"),
    ("stickerMessage", "sticker", ""),
    ("locationMessage", "location", ""),
    ("liveLocationMessage", "location", "caption"),
    ("contactMessage", "contact", ""),
    ("contactsArrayMessage", "contact", ""),
    ("reactionMessage", "reaction", ""),
)
_NOT_WRITTEN = {"senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage", "messageContextInfo"}


def _linked(device: int, event: Any) -> Linked:
    refused = event.Status != said.PairStatus.SUCCESS
    return Linked(number_in(event.ID.User), (noise.mask(event.Error) or "refused") if refused else "")


def _instant(seconds: int) -> float:
    """WhatsApp tells whole seconds; within the second that has just begun, our own clock knows better."""
    return min(time.time(), seconds + 1.0)


_TRANSLATIONS: dict[Any, Callable[[int, Any], Any]] = {
    said.PairStatus: _linked,
    said.Connected: lambda device, event: LoggedIn(),
    said.Disconnected: lambda device, event: CutOff(),
    said.KeepAliveTimeout: lambda device, event: Silent(),
    said.KeepAliveRestored: lambda device, event: LoggedIn(),
    said.LoggedOut: lambda device, event: contract.Unlinked(device, _LOGOUTS.get(event.Reason, _LOGOUTS[0])),
    said.StreamReplaced: lambda device, event: contract.Replaced(device),
    said.TemporaryBan: lambda device, event: contract.Banned(
        device, time.time() + event.Expire, _BAN_REASONS.get(event.Code, "temporarily banned")
    ),
    said.ConnectFailure: lambda device, event: Failed(said.ConnectFailureReason.Name(event.Reason).lower()),
    said.ClientOutdated: lambda device, event: contract.Outdated(device),
    said.Receipt: _receipt,
    said.Message: _incoming,
}
