"""A stand-in for WhatsApp's servers, started by a command line from outside, for rehearsals with the real library.

The command serves until SIGTERM with `--ledger PATH --work DIR`, and prints one line of JSON when it is ready:
{"port": …, "env": {…}}, `env` being what a gateway's environment needs. With `bulk --port PORT --count N --into DIR` it
links N numbers: DIR/whatsapp-1.session and so on, and their phones, without a plus, as a list in DIR/numbers.json. A
line of its ledger is `time phone device secret sha256(text) id`, one for each message that somebody's phone decrypted;
`secret` is the attempt's tag.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from config.rehearsal.installation import PROJECT, Installation, NeverHappened
from config.rehearsal.ledger import Entry


class Loopback:
    """One running server. ``environment``: what engines have to pass on to their gateways."""

    def __init__(self, command: str, installation: Installation) -> None:
        self._command = shlex.split(command)
        self._installation = installation
        self.environment: dict[str, str] = {}
        self._port = 0

    def start(self) -> None:
        """Raises NeverHappened when it says nothing that can be read."""
        folder, ledger = self._installation.folder, self._installation.ledger
        argv = [*self._command, "--ledger", str(ledger), "--work", str(folder / "loopback")]
        line = self._installation.start("loopback", argv, speaks=True).first_line()
        try:
            ready: dict[str, Any] = json.loads(line)
            self._port, self.environment = int(ready["port"]), dict(ready["env"])
        except (ValueError, KeyError, TypeError):
            raise NeverHappened(f"the loopback command said {line[:200]!r} instead of its port") from None

    def link(self, count: int, into: Path) -> list[str]:
        """Real session files of ``count`` numbers in the folder ``into``: number n's is `whatsapp-n.session`.

        Returns their phones, E.164. Raises NeverHappened when the command fails.
        """
        argv = [*self._command, "bulk", "--port", str(self._port), "--count", str(count), "--into", str(into)]
        linking = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
        if linking.returncode:
            raise NeverHappened(f"the numbers could not be linked: {linking.stderr[-500:]}")
        return [f"+{number}" for number in json.loads((into / "numbers.json").read_text())]


def read_decrypted(path: Path, device_of: dict[str, int]) -> list[Entry]:
    """The ledger's entries. ``device_of``: phone, without a plus → device. Epochs are nothing that WhatsApp sees."""
    entries = []
    with path.open() as lines:
        for line in lines:
            at, phone, _, tag, digest, _ = line.split()
            entries.append(Entry(float(at), device_of[phone], 0, tag, digest, float(at)))
    return entries
