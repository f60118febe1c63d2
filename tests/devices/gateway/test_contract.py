"""The framing: whatever way the bytes arrive, the words come out as they went in, or not at all."""

from __future__ import annotations

import struct
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.gateway import contract
from devices.gateway.contract import Command, Decoder, Event, FrameError, Media, Online, Open, Send, Sent, encode

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
whole = st.integers(0, 2**63 - 1)
sends = st.builds(
    Send,
    device=whole,
    epoch=whole,
    message=whole,
    tag=st.binary(max_size=64),
    to=text,
    text=text,
    media=st.none() | st.builds(Media, kind=st.sampled_from(["image", "document"]), path=text, mime=text, name=text),
)
opens = st.builds(Open, device=whole, epoch=whole, session=text, phone=text, fresh_keys=st.booleans())
commands = st.lists(sends | opens, max_size=8)


@given(batches=st.lists(commands, max_size=4), data=st.data())
def test_words_survive_any_cutting_of_the_stream(batches: list[list[Command]], data: st.DataObject) -> None:
    stream = b"".join(encode(batch) for batch in batches)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    decoder: Decoder[Command] = Decoder(Command)
    heard: list[Command] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard += decoder.feed(stream[start:end])
    assert heard == [word for batch in batches for word in batch]


@given(st.binary(min_size=1, max_size=200))
def test_noise_is_refused_or_waited_for_but_never_taken_for_words(noise: bytes) -> None:
    decoder: Decoder[Command] = Decoder(Command)
    try:
        words = decoder.feed(struct.pack(">I", len(noise)) + noise)
    except FrameError:
        return
    assert words == msgspec.msgpack.decode(noise, type=list[Command])


@pytest.mark.parametrize("word", [Online(1), Sent(1, 2, b"t", None, "id", "chat", 1.0)])
def test_an_event_is_not_a_command(word: Event) -> None:
    with pytest.raises(FrameError):
        Decoder(Command).feed(encode([word]))
    assert Decoder(Event).feed(encode([word])) == [word]


def test_a_frame_announced_larger_than_allowed_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameError):
        Decoder(Command).feed(struct.pack(">I", contract.MAX_FRAME + 1))


def test_a_batch_too_large_for_one_frame_takes_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MAX_FRAME", 300)
    batch: list[Command] = [Send(n, 1, n, b"t" * 32, "+60111111111", "x" * 100) for n in range(7)]
    stream = encode(batch)
    (first,) = struct.unpack_from(">I", stream)
    assert first <= 300
    assert Decoder(Command).feed(stream) == batch
    with pytest.raises(FrameError):
        encode([Send(1, 1, 1, b"t", "+60111111111", "x" * 400)])


def test_every_word_is_told_apart_by_its_name() -> None:
    names = [word.__struct_config__.tag for word in (*get_args(Command), *get_args(Event))]
    assert len(set(names)) == len(names) == 30
