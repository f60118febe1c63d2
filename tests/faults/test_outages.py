"""What an installation stands on goes away mid-run, as real processes: servers, gateways, a host that stands still."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.rehearsing import assert_accounted, rehearse

pytestmark = pytest.mark.faults

SHORT_LEASES: dict[str, Any] = {"LEASE_TTL": "6", "LEASE_RENEW": "2", "LEASE_STOP_AFTER": "4", "LEASE_EXIT_AFTER": "5"}


@pytest.fixture(scope="module")
def eventful() -> dict[str, Any]:
    """One run in which four things happen, one after the other."""
    pace = ("--devices", "60", "--messages", "1500", "--min-delay", "0.2", "--max-delay", "0.4", "--ack-ms", "200")
    faults = ("pause", "postgres-restart", "stop-engine", "kill-gateway")
    return rehearse(*pace, "--within", "90", *(part for name in faults for part in ("--fault", name)))


def fault(result: dict[str, Any], name: str) -> dict[str, Any]:
    [facts] = [facts for facts in result["faults"] if facts["fault"] == name]
    return facts


def test_p2_p4_whatever_happens_every_message_is_accounted_for(eventful: dict[str, Any]) -> None:
    assert_accounted(eventful)
    at_risk = fault(eventful, "kill-gateway")["in_flight"]
    assert eventful["audit"]["counts"]["uncertain"] <= at_risk
    assert eventful["sent"] + eventful["audit"]["counts"]["uncertain"] == 1_500


def test_p9_nothing_leaves_from_two_seconds_after_a_pause(eventful: dict[str, Any]) -> None:
    paused = fault(eventful, "pause")
    assert paused["left_late"] == 0
    assert paused["resumed_s"] < 2


def test_p3_sending_goes_on_once_postgres_is_back(eventful: dict[str, Any]) -> None:
    assert fault(eventful, "postgres-restart")["resumed_s"] < 5


def test_p8_an_engine_asked_to_stop_leaves_nothing_uncertain(eventful: dict[str, Any]) -> None:
    stopped = fault(eventful, "stop-engine")
    assert stopped["seconds"] <= 10
    assert (stopped["code"], stopped["uncertain"], stopped["in_flight"]) == (0, 0, 0)


def test_p5_what_a_dead_gateway_had_in_flight_is_uncertain_at_once_and_its_devices_are_back(
    eventful: dict[str, Any],
) -> None:
    killed = fault(eventful, "kill-gateway")
    assert killed["in_flight"] > 0
    assert killed["told_s"] < 3
    assert killed["back_s"] < 30


def test_p13_without_redis_postgres_is_asked_and_an_emptied_redis_rings_again() -> None:
    result = rehearse(
        "--devices", "30", "--messages", "300", "--min-delay", "0.8", "--max-delay", "1.2", "--within", "90",
        "--fault", "redis-away",
    )  # fmt: skip
    assert_accounted(result)
    assert result["sent"] == result["ledger"]["entries"] == 300
    away = fault(result, "redis-away")
    assert away["polled_s"] < 7
    assert away["rung_s"] < 5


def test_p6_p7_a_host_that_stands_still_is_replaced_and_ends_when_it_wakes() -> None:
    result = rehearse(
        "--devices", "60", "--messages", "4000", "--max-delay", "0.6", "--ack-ms", "100", "--within", "90",
        "--engines", "2", "--fault", "freeze-engine", **SHORT_LEASES,
    )  # fmt: skip
    assert_accounted(result)
    frozen = fault(result, "freeze-engine")
    assert frozen["in_flight"] > 0
    assert frozen["taken_over_s"] < 15
    assert frozen["code"] == 75  # its own watchdog
    counts = result["audit"]["counts"]
    assert counts["uncertain"] <= frozen["in_flight"]
    assert result["sent"] + counts["uncertain"] == 4_000
