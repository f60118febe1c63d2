"""Plays the phones of the simulated network: the pairing button, tests and fault drills."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

_ANSWER_LIMIT = 64 * 1024 * 1024


class ControlUnavailable(Exception):
    """The simulated network does not answer."""


class ControlRefused(Exception):
    """The simulated network says no; the text says why."""


class SimulatorControl:
    """Synchronous, one connection a request, so it outlives restarts of the network.

    Every method raises ControlUnavailable when nobody answers within `timeout` seconds and ControlRefused when
    the request cannot be met. Phones are E.164 text.
    """

    def __init__(self, path: str | Path, timeout: float = 5.0) -> None:
        self._path = str(path)
        self._timeout = timeout

    def scan(self, qr_payload: str, phone: str | None = None) -> dict[str, str]:
        """Scan a code (or type a pairing code) with `phone`, or with a number nobody has: `{"phone": …}`."""
        return self._ask("scan", payload=qr_payload, phone=phone)

    def ban(self, phone: str, seconds: float) -> None:
        """Ban for so long; 0 lifts the ban."""
        self._ask("ban", phone=phone, seconds=seconds)

    def unlink(self, phone: str) -> None:
        """Remove the linked device on the phone."""
        self._ask("unlink", phone=phone)

    def drop(self, phone: str, seconds: float = 0.0) -> None:
        """Cut the connection and let it come back no sooner than after `seconds`."""
        self._ask("drop", phone=phone, seconds=seconds)

    def poison(self, phone: str, poisoned: bool = True) -> None:
        """Have every gateway die that logs this phone in, as of an error in its session; or stop doing so."""
        self._ask("poison", phone=phone, poisoned=poisoned)

    def rule(self, match: dict[str, str] | None = None, **effect: Any) -> None:
        """What happens to messages that match all of `to`, `phone` (the device's) and `text` (part of it).

        Effects: `refuse=code`, `not_sent=why`, `lost_ack=True` (sent, never acknowledged), `dead=True` (neither),
        `delay_s=seconds`; with `times=n` for the next n messages only. The first rule that matches counts.
        """
        self._ask("rule", match=match or {}, effect=effect)

    def clear_rules(self) -> None:
        self._ask("clear_rules")

    def reply(self, phone: str, sender: str, text: str, quoted: str = "", kind: str = "text") -> None:
        """Have the person at `sender` write to the device with `phone`, or send what `contract.Incoming.kind` names."""
        self._ask("reply", phone=phone, sender=sender, text=text, quoted=quoted, kind=kind)

    def outdate(self, outdated: bool = True) -> None:
        """Refuse logins as from a client too old, or stop doing so."""
        self._ask("outdate", outdated=outdated)

    def state(self) -> dict[str, Any]:
        """`gateways`, `ledger_lines`, `rules`, `sessions` and `pairings` of this moment, and the last `files` sent."""
        return self._ask("state")

    def _ask(self, do: str, **request: Any) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self._timeout)
                connection.connect(self._path)
                connection.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
                with connection.makefile("rb") as lines:
                    line = lines.readline(_ANSWER_LIMIT)
        except OSError as error:
            raise ControlUnavailable(f"the simulated network does not answer: {error}") from error
        if not line.endswith(b"\n"):
            raise ControlUnavailable("the simulated network hung up")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise ControlRefused(answer["error"])
        return answer
