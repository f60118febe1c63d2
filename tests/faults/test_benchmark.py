"""The comparison with plain implementations in small, as real processes: it measures what it says it measures."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.benchmarks.bench_engines import HEAD, table
from tests.faults.rehearsing import PROJECT

pytestmark = pytest.mark.faults


def test_plain_implementations_send_each_message_once_while_nothing_breaks() -> None:
    names = ["rq-simple", "celery-threads"]
    small = ["--devices", "60", "--scale", "0.05", "--kills", "0"]
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench_engines", "--json", *small, "--only", *names],
        cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3_000:]
    results = json.loads(run.stdout)["results"]
    assert [result["engine"] for result in results] == names
    for result in results:
        assert result["ledger"] == {"entries": result["messages"], "duplicates": 0}
        assert 1 < result["rate_per_s"] < 5_000
        assert 0.1 < result["cpu_s_per_1000"] < 100
    assert len(table(results).splitlines()) == 2 + len(names)


def test_ratios_are_told_in_terms_of_ours() -> None:
    ours = {"engine": "ours", "rate_per_s": 5_000, "cpu_s_per_1000": 0.2}
    killed = {"never_sent": 3, "sent_unrecorded": 9, "flagged": 0, "sent_twice": 1}
    other = {"engine": "other", "rate_per_s": 250.0, "cpu_s_per_1000": 6.0, "killed": killed}
    last = [cell.strip() for cell in table([ours, other]).splitlines()[-1].strip("|").split("|")]
    assert dict(zip(HEAD, last, strict=True)) == {
        "engine": "other", "messages/s": "250", "CPU s per 1,000": "6.00", "ours is faster by": "20.0",
        "its CPU is ours by": "30.0", "never sent": "3", "sent, not recorded": "9", "of these flagged": "0",
        "sent twice": "1",
    }  # fmt: skip
