"""A simulated session's file: one writer, nobody else's eyes, and the latest tags in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devices.gateway.session_file import TAGS_KEPT, Missing, SessionFile, message_id
from devices.gateway.session_lock import InUse


def test_a_file_has_one_holder_at_a_time(tmp_path: Path) -> None:
    held = SessionFile.open(tmp_path / "s", "+60123456789")
    with pytest.raises(InUse):
        SessionFile.open(tmp_path / "s")
    with pytest.raises(InUse):
        SessionFile.claim(tmp_path / "s")
    held.close()
    again = SessionFile.open(tmp_path / "s")
    assert again.head == held.head
    again.close()


def test_fresh_keys_change_the_keys_alone(tmp_path: Path) -> None:
    first = SessionFile.open(tmp_path / "s", "+60123456789")
    first.remember(b"t" * 32)
    first.close()
    second = SessionFile.open(tmp_path / "s", fresh_keys=True)
    assert first.head is not None
    assert second.head is not None
    assert (second.head.phone, second.head.session) == (first.head.phone, first.head.session)
    assert second.head.keys != first.head.keys
    assert second.ids([b"t" * 32]) == {(b"t" * 32).hex(): message_id(b"t" * 32)}
    second.close()


def test_the_latest_tags_are_kept_and_the_file_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "s"
    session = SessionFile.open(path, "+60123456789")
    tags = [os.urandom(32) for _ in range(TAGS_KEPT * 3 + 7)]
    for number, tag in enumerate(tags):
        session.remember(tag)
        if number % 400 == 0:
            session.close()
            session = SessionFile.open(path)
    newest = tags[-TAGS_KEPT // 2 :]
    assert session.ids(newest) == {tag.hex(): message_id(tag) for tag in newest}
    assert session.ids(tags[:5]) == {tag.hex(): None for tag in tags[:5]}
    assert path.stat().st_size < 40_000
    session.close()


@pytest.mark.parametrize("content", [b"", b"{", b'{"phone": 1}'])
def test_a_file_without_a_session_in_it_is_missing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(Missing):
        SessionFile.open(tmp_path / "s")
    SessionFile.open(tmp_path / "s", "+60123456789").close()
    assert SessionFile.open(tmp_path / "s").head is not None


def test_a_claim_that_came_to_nothing_leaves_no_file(tmp_path: Path) -> None:
    SessionFile.claim(tmp_path / "s").close()
    assert list(tmp_path.iterdir()) == []
