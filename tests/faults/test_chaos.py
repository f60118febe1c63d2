"""The chaos suite in its short form: real processes die, servers go away, people change their minds.

Every scenario has to be clean: see `config/rehearsal/checker.py` for what that means. Two installations share the
scenarios and run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from config.rehearsal.chaos import NAMES
from tests.faults.rehearsing import Command

pytestmark = pytest.mark.faults

WITHIN_S = 400
ONE_HALF = ("kill-engines", "redis", "postgres-away", "stop-engines-in-turn", "lost-acks", "bans")
OTHER_HALF = tuple(name for name in NAMES if name not in ONE_HALF)
DIED = 1  # chaos found something: the scenario's own test says what

Result = dict[str, Any]


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, Result]]:
    with ExitStack() as stack:
        halves = [Command("chaos", "--json", "--short", "--scenario", *half) for half in (ONE_HALF, OTHER_HALF)]
        for half in halves:
            stack.callback(half.end)
        answers = [half.answer(WITHIN_S, allowed=(0, DIED)) for half in halves]
        yield {result["scenario"]: result for answer in answers for result in answer["scenarios"]}


def clean(results: dict[str, Result], name: str) -> dict[str, Any]:
    """What the scenario saw, after P2, P4, P6, P10, P11 and P17 have been checked for it."""
    result = results[name]
    assert result["violations"] == {}, result
    assert result["clean"]
    assert result["facts"]["in_ledger"] > 0
    return result["facts"]


def test_every_scenario_is_played(results: dict[str, Result]) -> None:
    assert sorted(results) == sorted(NAMES)


def test_p2_p4_p5_p6_killed_engines_lose_and_repeat_nothing(results: dict[str, Result]) -> None:
    facts = clean(results, "kill-engines")
    assert facts["kills"] >= 5
    assert max(facts["devices_of_hosts"]) - min(facts["devices_of_hosts"]) <= 1
    assert len(facts["devices_of_hosts"]) == 3
    assert facts["states"].get("uncertain", 0) <= facts["open_at_faults"]


def test_p5_what_a_dead_gateway_had_in_flight_is_uncertain_at_once_and_its_devices_are_back(
    results: dict[str, Result],
) -> None:
    facts = clean(results, "kill-gateways")
    assert facts["in_flight"] > 0
    assert facts["told_s"] < 3
    assert facts["back_s"] < 30


def test_p2_p4_p7_after_everything_died_at_once_sending_goes_on(results: dict[str, Result]) -> None:
    facts = clean(results, "kill-everything")
    assert facts["in_flight"] > 0
    assert facts["resumed_s"] < 60


def test_p8_an_engine_asked_to_stop_leaves_nothing_uncertain(results: dict[str, Result]) -> None:
    facts = clean(results, "stop-engines-in-turn")
    assert facts["stops"] >= 4
    assert facts["slowest_s"] <= 10
    assert "uncertain" not in facts["states"]


def test_p2_p4_p5_p11_engines_may_die_at_any_line(results: dict[str, Result]) -> None:
    facts = clean(results, "fault-points")
    assert len(facts["deaths"]) == 7
    assert min(facts["deaths"].values()) >= 1


def test_p6_p7_a_host_that_stands_still_is_replaced_and_ends_when_it_wakes(results: dict[str, Result]) -> None:
    facts = clean(results, "freeze-host")
    assert facts["in_flight"] > 0
    assert facts["taken_over_s"] < 15
    assert facts["code"] == 75  # its own watchdog


def test_p13_without_redis_postgres_is_asked_and_an_emptied_redis_rings_again(results: dict[str, Result]) -> None:
    facts = clean(results, "redis")
    assert facts["away_s"] >= 20
    assert facts["polled_s"] < 7
    assert facts["rung_s"] < 5
    assert "uncertain" not in facts["states"]


def test_p3_sending_goes_on_once_postgres_is_back(results: dict[str, Result]) -> None:
    facts = clean(results, "postgres-restarts")
    assert facts["restarts"] >= 1
    assert facts["resumed_s"] < 5
    assert "uncertain" not in facts["states"]


def test_p5_p6_without_postgres_engines_fence_themselves(results: dict[str, Result]) -> None:
    facts = clean(results, "postgres-away")
    assert facts["fenced"] == 2
    assert facts["resumed_s"] < 60


def test_p14_campaigns_due_together_start_once_however_many_clocks_look(results: dict[str, Result]) -> None:
    facts = clean(results, "start-together")
    assert facts["clocks"] == 3
    assert facts["campaigns"] >= 50
    assert not facts["seeded_late"]


def test_p4_p11_a_lost_acknowledgement_is_never_answered_by_sending_again(results: dict[str, Result]) -> None:
    facts = clean(results, "lost-acks")
    assert facts["lost"] > 0
    assert facts["states"].get("uncertain", 0) <= facts["lost"]


def test_p3_p10_banned_devices_wait_while_the_others_go_on(results: dict[str, Result]) -> None:
    facts = clean(results, "bans")
    assert facts["banned"] == 4
    assert facts["told_s"] < 3
    assert facts["others_s"] < 2


def test_p9_pause_cancel_and_opt_out_hold_from_two_seconds_after_the_answer(results: dict[str, Result]) -> None:
    facts = clean(results, "changed-minds")
    assert facts["everything"]["left_late"] == 0
    assert facts["everything"]["resumed_s"] < 2
    assert (facts["paused"], facts["resumed"], facts["cancelled"], facts["opted out"]) == (5, 5, 5, 5)
    assert facts["states"]["cancelled"] > 0
    assert facts["states"]["skipped"] > 0
