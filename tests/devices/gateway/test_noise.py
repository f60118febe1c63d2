"""What the library prints: logged without numbers, keys or anybody's words."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from devices.gateway.noise import LONGEST, mask


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("failed to reach 60123456789@s.whatsapp.net", "failed to reach …@s.whatsapp.net"),
        ("to +60 12-345 6789 again", "to +… again"),
        ("error 463 after 75 s", "error 463 after 75 s"),
        ('unknown: <message from="1@lid"><body>Hi Ann</body></message>', "unknown: …"),
        ("push name 'Ann' and \"Bob\"", "push name … and …"),
        ("key pGMkQGaGnwy1Bb2WeYBYyaB/GEyik/8zfEaT0nlEasA=", "key …"),
    ],
)
def test_what_may_be_personal_is_masked(line: str, left: str) -> None:
    assert mask(line) == left


def test_a_line_is_no_longer_than_it_needs_to_be() -> None:
    assert len(mask("a b " * 1000)) == LONGEST


def test_prints_of_any_library_become_masked_json_and_our_own_log_stays_whole() -> None:
    program = textwrap.dedent("""
        import ctypes, logging, os, time
        from devices.gateway import whatsapp
        whatsapp.prepare_surroundings()
        os.write(1, b"written by C for 60123456789\\n")
        os.write(2, b"Press Ctrl+C to exit\\n")
        print("printed for 60123456789", flush=True)
        logging.getLogger("neonize.client").error("logged for %s", "60123456789")
        logging.getLogger("whatsmeow").warning("<message>Hello</message>")
        try:
            raise ValueError("about 60123456789")
        except ValueError:
            logging.getLogger("gateway").exception("ours failed with 150 devices")
        time.sleep(0.3)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert {"library: written by C for …", "library: printed for …", "logged for …", "…"} <= set(events)
    assert any(event.startswith("ours failed with 150 devices: Traceback") for event in events)
    assert len(events) == 5
    assert "60123456789" not in done.stderr
