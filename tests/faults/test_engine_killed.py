"""Engines die mid-send, as real processes: nothing is lost, nothing repeated, and what is unknown says so."""

from __future__ import annotations

import pytest

from tests.faults.rehearsing import assert_accounted, rehearse

pytestmark = pytest.mark.faults


def test_p2_p4_a_rehearsal_accounts_for_every_message() -> None:
    result = rehearse("--devices", "150", "--messages", "5000", "--ack-ms", "5", "--within", "60")
    assert_accounted(result)
    assert result["sent"] == result["ledger"]["entries"] == 5_000


def test_p5_five_kills_leave_at_most_one_uncertain_message_a_device_each() -> None:
    result = rehearse(
        "--devices", "60", "--messages", "4000", "--ack-ms", "30", "--within", "90", "--kill-engine", "5"
    )  # fmt: skip
    assert_accounted(result)
    counts = result["audit"]["counts"]
    assert 0 < counts["uncertain"] <= sum(kill["in_flight"] for kill in result["faults"])
    assert result["sent"] + counts["uncertain"] == 4_000


def test_p6_two_engines_share_the_devices() -> None:
    result = rehearse("--devices", "60", "--messages", "3000", "--engines", "2", "--ack-ms", "5", "--within", "60")
    assert_accounted(result)
    assert result["sent"] == 3_000
