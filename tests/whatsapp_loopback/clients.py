"""Real neonize clients for tests, in a process of their own, one session file each."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARK = "\x1e"  # begins a line of the program's; what has none is the library talking to itself
ROOT = Path(__file__).resolve().parents[2]


class Client:
    """One session file and the library's client on it."""

    def __init__(self, clients: Clients, path: Path) -> None:
        self._clients, self.path = clients, path

    def ask(self, do: str, **arguments: Any) -> Any:
        """Raises RuntimeError with the library's words."""
        answer = self._clients.ask(do, client=str(self.path), **arguments)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def expect(self, event: str, timeout: float = 10, **like: Any) -> dict[str, Any]:
        """The next event of this kind, with these values; those that come before it are passed over."""
        return self._clients.expect(str(self.path), event, timeout, like)

    def waiting(self) -> list[str]:
        """The events that nobody has asked for yet, QR codes aside."""
        return [event for event in self._clients.waiting(str(self.path)) if event != "qr"]

    def connect(self) -> Client:
        self.ask("connect")
        return self

    def send(self, to: str, text: str, **more: Any) -> str:
        return str(self.ask("send", to=to, text=text, **more))


class Clients:
    """The process. `printed` is what the library wrote to its own output."""

    def __init__(self, env: Mapping[str, str]) -> None:
        path = os.pathsep.join((env["PYTHONPATH"], str(ROOT)))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.whatsapp_loopback.client_program"],
            env={**env, "PYTHONPATH": path, "NEONIZE_BOT_TAG": "off"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.printed: list[str] = []
        self._more = threading.Condition()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._events: defaultdict[str, queue.Queue[dict[str, Any]]] = defaultdict(queue.Queue)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if not line.startswith(MARK):
                with self._more:
                    self.printed.append(line.rstrip())
                    self._more.notify_all()
                continue
            told = json.loads(line[1:])
            (self._answers if told["event"] == "answer" else self._events[told["client"]]).put(told)

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        try:
            return self._answers.get(timeout=30)
        except queue.Empty:
            raise AssertionError(f"no answer to {do}; it printed {self.printed[-20:]}") from None

    def expect(self, client: str, event: str, timeout: float, like: dict[str, Any]) -> dict[str, Any]:
        until, passed = time.monotonic() + timeout, []
        while (left := until - time.monotonic()) > 0:
            try:
                told = self._events[client].get(timeout=left)
            except queue.Empty:
                break
            if told["event"] == event and all(told[key] == value for key, value in like.items()):
                return told
            passed.append(told["event"])
        raise AssertionError(f"no {event} within {timeout} s, but {passed}; it printed {self.printed[-20:]}")

    def waiting(self, client: str) -> list[str]:
        return [told["event"] for told in self._events[client].queue]

    def expect_printed(self, words: str, timeout: float = 10) -> None:
        """The library says this on its own output, from now on or before."""
        with self._more:
            said = self._more.wait_for(lambda: any(words in line for line in self.printed), timeout)
        assert said, f"it did not print {words!r} but {self.printed[-20:]}"

    def client(self, path: Path) -> Client:
        return Client(self, path)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
