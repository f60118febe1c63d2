"""One end of a socket that carries contract words: whole batches in, one batch a loop turn out, bounded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

from devices.gateway.contract import Decoder, FrameError, Word, encode
from devices.gateway.process import peer_of

HIGH_WATER = 4 * 1024 * 1024
LOW_WATER = 1 * 1024 * 1024
LIMIT = 64 * 1024 * 1024

log = logging.getLogger(__name__)


class Link(asyncio.Protocol):
    """`on_words` gets each decoded batch, `on_lost` is called once when the connection is gone, and
    `on_unsendable` gets a word that cannot be encoded (a lone surrogate, larger than a frame) instead of the peer.

    From HIGH_WATER unsent bytes down to LOW_WATER the link is `congested` (`on_congested` tells when that
    changes); a peer that lets LIMIT pile up is taken for dead and cut off, so memory stays bounded.
    """

    def __init__(
        self,
        expected: Any,
        *,
        on_words: Callable[[list[Any]], None],
        on_lost: Callable[[], None],
        on_congested: Callable[[bool], None] = lambda congested: None,
        on_unsendable: Callable[[Word], None] = lambda word: None,
    ) -> None:
        self.congested = False
        self._decoder: Decoder[Any] = Decoder(expected)
        self._on_words = on_words
        self._on_lost = on_lost
        self._on_congested = on_congested
        self._on_unsendable = on_unsendable
        self._pending: list[Word] = []
        self._transport: asyncio.Transport | None = None
        self._finished = False
        self._loop = asyncio.get_running_loop()

    @property
    def connected(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def peer(self) -> int:
        """The process id at the other end."""
        assert self._transport is not None
        return peer_of(self._transport.get_extra_info("socket"))

    @property
    def buffered(self) -> int:
        """Bytes handed to the transport that the peer has not taken yet."""
        return self._transport.get_write_buffer_size() if self.connected and self._transport else 0

    # ------------------------------------------------------------------------------------------ outgoing

    def send(self, word: Word) -> None:
        """Queue a word; everything queued in this turn of the loop leaves as one frame."""
        if not self._pending:
            self._loop.call_soon(self.flush)
        self._pending.append(word)

    def send_all(self, words: Iterable[Word]) -> None:
        if not self._pending:
            self._loop.call_soon(self.flush)
        self._pending.extend(words)

    def flush(self) -> None:
        """Write what is queued now; after the end of the connection it goes nowhere."""
        words, self._pending = self._pending, []
        if not words or self._finished or not self.connected or self._transport is None:
            return
        try:
            frame = encode(words)
        except (FrameError, ValueError, OverflowError):
            frame = self._without_unsendable(words)
        self._transport.write(frame)
        if self._transport.get_write_buffer_size() > LIMIT:
            log.error("peer takes nothing any more, cutting it off")
            self._transport.abort()

    def _without_unsendable(self, words: list[Word]) -> bytes:
        """Frames for the words that can be encoded, so that one bad text does not take its batch along."""
        frames = []
        for word in words:
            try:
                frames.append(encode([word]))
            except (FrameError, ValueError, OverflowError) as error:
                log.error("a %s cannot be encoded: %s", type(word).__name__, type(error).__name__)
                self._on_unsendable(word)
        return b"".join(frames)

    def finish(self) -> None:
        """Flush and half-close: the peer sees the end after the last word."""
        self.flush()
        self._finished = True
        if self.connected and self._transport is not None:
            self._transport.write_eof()

    def close(self) -> None:
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------------------------------ incoming

    def hold(self, held: bool) -> None:
        """Stop or go on reading; while held, the socket itself makes the peer wait."""
        if not self.connected or self._transport is None:
            return
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # ---------------------------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)

    def data_received(self, data: bytes) -> None:
        try:
            words = self._decoder.feed(data)
        except FrameError as error:
            log.error("peer broke the contract, cutting it off: %s", error)
            self.abort()
            return
        if words:
            self._on_words(words)

    def eof_received(self) -> None:
        # The peer is through with talking, but may still listen for what its last words caused
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pending.clear()
        self._on_lost()

    def pause_writing(self) -> None:
        self.congested = True
        self._on_congested(True)

    def resume_writing(self) -> None:
        self.congested = False
        self._on_congested(False)
