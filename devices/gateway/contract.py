"""The words an engine and its gateways exchange, and their framing on the socket between them.

A frame is a 4-byte big-endian length followed by msgpack of a list of commands (engine to gateway) or
events (gateway to engine). Phones are E.164 text, times are Unix seconds, `device` is the device's integer
primary key.
"""

from __future__ import annotations

import struct
from typing import Any, Generic, Literal, TypeVar

import msgspec

MAX_FRAME = 16 * 1024 * 1024
_HEADER = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The other side broke the framing or sent something the contract does not know: close the connection."""


class Word(msgspec.Struct, array_like=True, tag=True, gc=False):
    """What every command and event is: an array on the wire, its class name first.

    `gc=False` keeps hundreds of thousands of short-lived values out of Python's cycle collector; it is safe
    because none of them can ever refer to itself.
    """


# ---------------------------------------------------------------------------------------------- commands


MEDIA_LIMITS = {"image": 5 * 2**20, "video": 16 * 2**20, "audio": 16 * 2**20, "document": 100 * 2**20}


class Media(msgspec.Struct, array_like=True, gc=False):
    """A file to send with a text, by its path on the gateway's machine; at most MEDIA_LIMITS bytes of its kind.

    The text becomes its caption. WhatsApp has no captions for audio: with a text it is not sent.
    """

    kind: Literal["image", "video", "audio", "document"]
    path: str
    mime: str
    name: str = ""


class Open(Word):
    """Connect a device with the session file at path `session`.

    Answered by Online, Offline, Banned, Outdated or Unlinked. A repeat with a newer epoch moves the device to
    it; one with an older epoch is ignored. `phone` lets a simulated device without a file make its own.
    """

    device: int
    epoch: int
    session: str
    phone: str = ""
    fresh_keys: bool = False


class Close(Word):
    """Disconnect and let the session file go; an open send ends Unknown. Not answered otherwise.

    With a number in `copy`, a request as Snapshot's, the session file is copied once the client has stopped. Then it
    is always answered: by SnapshotTaken, when the file has been let go.
    """

    device: int
    copy: int = 0


class Pair(Word):
    """Link a new session and write it to path `session`, in place of what was there: Qr again and again (Code too
    when `phone` is given), then Paired and Online, or PairFailed. Close cancels it."""

    device: int
    epoch: int
    session: str
    phone: str = ""


class Send(Word):
    """Send one message. Answered by Wire when it leaves, and always by exactly one of the four outcomes.

    `wire_at` is what a simulated gateway adds for its network: when the message left.
    """

    device: int
    epoch: int
    message: int
    tag: bytes
    to: str
    text: str
    media: Media | None = None
    wire_at: float = 0.0


class CheckNumbers(Word):
    """Ask which numbers are on WhatsApp. Answered by Numbers, without those that could not be found out."""

    device: int
    request: int
    numbers: list[str]


class Unlink(Word):
    """Log the session out and delete its file. Answered by Unlinked."""

    device: int


class Snapshot(Word):
    """Copy the session file. Answered by SnapshotTaken."""

    device: int
    request: int


class Evidence(Word):
    """Look for attempts' tags in the session file. Answered by Found."""

    device: int
    request: int
    tags: list[bytes]


class Stats(Word):
    """Answered by StatsReport."""

    request: int


Command = Open | Close | Pair | Send | CheckNumbers | Unlink | Snapshot | Evidence | Stats


# ------------------------------------------------------------------------------------------------ events


class Qr(Word):
    device: int
    payload: str
    expires_s: float


class Code(Word):
    device: int
    code: str


class Paired(Word):
    device: int
    phone: str


class PairFailed(Word):
    """Pairing came to nothing; the file is gone. `why` begins with one of these words:

    "expired": no code was scanned in time, or the account asked its owner for more than a scan (a passkey).
    "network is away": WhatsApp cannot be reached. "refused": WhatsApp or the phone said no. "session in use": another
    process holds the file. "session file: …": it cannot be written. "outdated": WhatsApp asks for a newer library.
    "cancelled": the gateway is stopping.
    """

    device: int
    why: str


class Online(Word):
    device: int


class Offline(Word):
    """Not connected for now. The gateway keeps trying, except when why is "session in use"."""

    device: int
    why: str


class Unlinked(Word):
    """The session is gone for good, its file too: pair again."""

    device: int
    why: str


class Replaced(Word):
    """Another session of the same phone took over: no reconnecting until the next Open."""

    device: int


class Banned(Word):
    device: int
    until: float
    why: str


class Outdated(Word):
    device: int


class Wire(Word):
    """The message is handed to WhatsApp: `at` is the instant just before."""

    device: int
    message: int
    at: float


class Sent(Word):
    """WhatsApp acknowledged. `chat` is what receipts and replies will name, which is seldom the phone."""

    device: int
    message: int
    tag: bytes
    wire_at: float | None
    id: str
    chat: str
    at: float


class NotSent(Word):
    """Definitely not sent: safe to try again."""

    device: int
    message: int
    tag: bytes
    wire_at: float | None
    why: str


class Refused(Word):
    device: int
    message: int
    tag: bytes
    wire_at: float | None
    why: str
    code: int


class Unknown(Word):
    """Nobody knows whether it was sent: never try again without evidence."""

    device: int
    message: int
    tag: bytes
    wire_at: float | None
    why: str


class Receipt(Word):
    device: int
    ids: list[str]
    chat: str
    kind: Literal["delivered", "read"]
    at: float


IncomingKind = Literal[
    "text", "image", "video", "audio", "document", "sticker", "location", "contact", "reaction", "other"
]


class Incoming(Word):
    """A message from a person. `sender` is the phone where WhatsApp tells it, else the same as `chat`.

    `text` is what the person wrote: the caption where it is no text, so often nothing. `quoted` is the id of the
    message it answers or reacts to.
    """

    device: int
    chat: str
    sender: str
    id: str
    text: str
    at: float
    quoted: str = ""
    kind: IncomingKind = "text"


class Numbers(Word):
    device: int
    request: int
    found: dict[str, bool]


class SnapshotTaken(Word):
    """`path` of the copy, a `*.snapshot` beside the session file; empty when there is no session to copy.

    It is readable by the owner alone, and the engine's from then on, to read and to delete.
    """

    device: int
    request: int
    path: str


class Found(Word):
    """Each tag in hex with its message id, or None when the session file does not have it; empty when the
    device is not open, so that "absent" is never said of a file nobody read."""

    device: int
    request: int
    ids: dict[str, str | None]


class StatsReport(Word):
    """Counts since the gateway started; `in_flight`, `open`, `online` and what it takes are of this moment.

    `cycles` counts sessions stopped or tried in vain: the library keeps some memory and files of each, for good.
    """

    request: int
    pid: int
    open: int
    online: int
    in_flight: int
    sent: int
    not_sent: int
    refused: int
    unknown: int
    cpu_s: float
    rss_mb: float
    threads: int = 0
    fds: int = 0
    cycles: int = 0


Outcome = Sent | NotSent | Refused | Unknown
Event = (
    Qr
    | Code
    | Paired
    | PairFailed
    | Online
    | Offline
    | Unlinked
    | Replaced
    | Banned
    | Outdated
    | Wire
    | Sent
    | NotSent
    | Refused
    | Unknown
    | Receipt
    | Incoming
    | Numbers
    | SnapshotTaken
    | Found
    | StatsReport
)


# ----------------------------------------------------------------------------------------------- framing

T = TypeVar("T")


def encode(words: list[Any]) -> bytes:
    """One frame for all of `words`, or several when they are too large for one.

    Raises FrameError when a single word is larger than MAX_FRAME.
    """
    payload = _encoder.encode(words)
    if len(payload) <= MAX_FRAME:
        return _HEADER.pack(len(payload)) + payload
    if len(words) <= 1:
        raise FrameError("one word is larger than a frame may be")
    half = len(words) // 2
    return encode(words[:half]) + encode(words[half:])


class Decoder(Generic[T]):
    """Turns a stream of bytes back into words; keeps at most one unfinished frame.

    `expected` is Command or Event: a word of the other direction is an error.
    """

    def __init__(self, expected: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(list[expected]).decode
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[T]:
        """Words completed by `data`, in order. Raises FrameError on anything the contract does not allow."""
        buffer = self._buffer
        buffer += data
        words: list[T] = []
        start = 0
        with memoryview(buffer) as view:
            while len(buffer) - start >= _HEADER.size:
                (size,) = _HEADER.unpack_from(view, start)
                if size > MAX_FRAME:
                    raise FrameError("frame larger than allowed")
                end = start + _HEADER.size + size
                if end > len(buffer):
                    break
                words += self._words(view[start + _HEADER.size : end])
                start = end
        del buffer[:start]
        return words

    def _words(self, payload: memoryview) -> list[T]:
        with payload:
            try:
                return self._decode(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise FrameError("frame is not a list of the expected words") from error
