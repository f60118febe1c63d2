"""The server as a process of its own, and many numbers linked at it at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.whatsapp_loopback.clients import ROOT, Clients
from tests.whatsapp_loopback.control import Control
from tests.whatsapp_loopback.patch import Prepared

COMMAND = [sys.executable, "-m", "tests.whatsapp_loopback"]


@pytest.fixture
def command(prepared: Prepared, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What its first line says."""
    options = ["--work", str(prepared.work), "--ledger", str(tmp_path / "ledger.log"), "--people-reply", "ya"]
    process = subprocess.Popen([*COMMAND, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield json.loads(process.stdout.readline())
    process.terminate()
    assert process.wait(10) == 0


def test_its_first_line_is_all_that_a_client_needs(command: dict[str, Any], prepared: Prepared, tmp_path: Path) -> None:
    assert command["env"] == prepared.env(command["port"], {})
    bulk = [*COMMAND, "bulk", "--port", str(command["port"]), "--count", "3", "--into", str(tmp_path / "sessions")]
    subprocess.run(bulk, cwd=ROOT, check=True)
    numbers = json.loads((tmp_path / "sessions" / "numbers.json").read_text())
    assert len(set(numbers)) == 3
    assert not list((tmp_path / "sessions").glob("*-wal"))

    clients = Clients({**prepared.env(), **command["env"]})
    for n, number in enumerate(numbers, 1):
        client = clients.client(tmp_path / "sessions" / f"whatsapp-{n}.session").connect()
        client.expect("connected")
        client.send("6281366666666", "hello")
        assert client.expect("message")["text"] == "ya"
        assert f"{number}:1@s.whatsapp.net" in Control(command["port"]).state()["online"]
    clients.close()

    ledger = (tmp_path / "ledger.log").read_text().splitlines()
    assert [line.split()[1] for line in ledger] == numbers
