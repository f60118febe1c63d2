"""The ledger: one line a message, one writer, and nothing forgotten when it is opened again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.whatsapp_loopback.ledger import Ledger


def test_a_message_is_witnessed_once_also_after_the_ledger_was_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        ledger = Ledger(tmp_path / "ledger.log")
        ledger.witness("628111", 1, "", "hi", "3EB0A")
        ledger.witness("628111", 1, "", "hi", "3EB0A")
        ledger.close()

    assert len((tmp_path / "ledger.log").read_text().splitlines()) == 1


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.log")

    with pytest.raises(BlockingIOError):
        Ledger(tmp_path / "ledger.log")
    ledger.close()
