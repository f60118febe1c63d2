"""`manage.py rehearse`: an undisturbed run and one with a fault account for every message."""

from __future__ import annotations

import pytest

from tests.faults.rehearsing import Command

pytestmark = pytest.mark.faults


def test_p2_p4_p17_a_rehearsal_accounts_for_every_message() -> None:
    size = ("--devices", "150", "--messages", "4000", "--ack-ms", "5", "--engines", "2", "--within", "60")
    result = Command("rehearse", "--json", *size, "--kill-engine", "1").answer(120)
    audit, ledger = result["audit"], result["ledger"]
    assert (audit["drift"], audit["violations"], audit["open_attempts"]) == (0, [], 0)
    assert (ledger["duplicates"], ledger["unknown_to_database"], ledger["sent_but_absent"]) == (0, 0, 0)
    [kill] = result["faults"]
    assert kill["fault"] == "kill-engine"
    assert audit["counts"]["uncertain"] <= kill["in_flight"]
    assert result["sent"] + audit["counts"]["uncertain"] == 4_000
    assert result["rate_per_s"] > 0
    assert len(result["limits"]) == 2, "each host says how many sends it allowed, and whether that held it back"
    for limit in result["limits"]:
        assert 50 <= limit["limit"] <= limit["highest_limit"] <= limit["max_limit"] == 500
        assert limit["held_back_s"] >= 0
