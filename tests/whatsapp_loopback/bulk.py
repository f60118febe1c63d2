"""`python -m tests.whatsapp_loopback bulk`: many linked numbers at once, for rehearsals.

Links numbers with the real library at a running server: a session file `whatsapp-<n>.session` each, and
`numbers.json`, the list of their numbers in the same order. Prints that list's path.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .clients import ROOT
from .control import Control

CHUNK = 150  # links a process: each leaves threads and memory behind


def phone_number(n: int) -> str:
    """A Malaysian mobile number, without its plus: +60 12 200 0001 is the first."""
    if not 1 <= n < 8_000_000:
        raise ValueError("numbers are counted from 1 to 7,999,999")
    return f"6012{2_000_000 + n}"


def link_chunk(port: int, env: dict[str, str], chunk: list[tuple[str, str]]) -> None:
    """In a process of its own. Raises RuntimeError with what it said last."""
    worker = subprocess.run(
        [sys.executable, "-m", "tests.whatsapp_loopback.bulk_worker", str(port)],
        input=json.dumps(chunk),
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if worker.returncode:
        raise RuntimeError(worker.stderr[-2000:])
    for path, _ in chunk:
        store = sqlite3.connect(path)  # the last to close it puts the write-ahead log into the file
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.close()
        os.chmod(path, 0o600)


def link_many(port: int, into: Path, count: int, first: int = 1, processes: int = 2) -> list[str]:
    """Gives the numbers. Raises RuntimeError (a link failed) or FileExistsError (a session is there already)."""
    into.mkdir(parents=True, exist_ok=True)
    given = Control(port).environment()
    python_path = os.pathsep.join(filter(None, (given["PYTHONPATH"], str(ROOT), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, **given, "PYTHONPATH": python_path, "NEONIZE_BOT_TAG": "off"}
    wanted = [(into / f"whatsapp-{n}.session", phone_number(n)) for n in range(first, first + count)]
    for path, _ in wanted:
        if path.exists():
            raise FileExistsError(f"{path} is there already")
    size = min(CHUNK, -(-count // processes))
    chunks = [[(str(path), phone) for path, phone in wanted[at : at + size]] for at in range(0, count, size)]
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(lambda chunk: link_chunk(port, env, chunk), chunks))
    numbers = [phone for _, phone in wanted]
    (into / "numbers.json").write_text(json.dumps(numbers))
    return numbers


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.whatsapp_loopback bulk", description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--into", type=Path, required=True, metavar="DIR")
    parser.add_argument("--port", type=int, required=True, help="of the server that is running")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="number of the first file")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(argv)
    link_many(options.port, options.into, options.count, options.first, options.processes)
    print(options.into / "numbers.json")  # noqa: T201
