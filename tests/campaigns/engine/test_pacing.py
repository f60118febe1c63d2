"""Pacing and outcomes: values in, values out."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.engine import lifecycle, outcome, pacing
from campaigns.engine.stop_words import asks_to_stop


@given(st.integers(0, 1_000), st.integers(0, 2**32))
def test_a_retry_waits_at_most_an_hour_and_at_most_double_each_time(tries: int, seed: int) -> None:
    wait = pacing.retry_in(tries, Random(seed))
    assert 0 <= wait <= min(3_600, 30 * 2 ** max(0, tries - 1))


def test_p11_only_definite_non_sends_come_back() -> None:
    rng = Random(1)
    assert outcome.unknown("timed out").state == lifecycle.UNCERTAIN
    assert outcome.not_sent("no LID found", 0, rng).state == lifecycle.WAITING
    for code in (408, 479, 503, 403, 400):
        verdict = outcome.refused("", code, 0, rng)
        assert (verdict.state, verdict.counts, verdict.hold) == (lifecycle.WAITING, True, None)
        assert outcome.refused("", code, 4, rng).state == lifecycle.DEAD
    assert outcome.refused("", 405, 0, rng).state == lifecycle.DEAD


def test_who_is_refused_for_an_hour_or_two_is_not_tried_sooner() -> None:
    assert all(3_600 <= (outcome.refused("", 403, 0, Random(n)).retry_in or 0) <= 7_200 for n in range(50))


@pytest.mark.parametrize(
    ("code", "hours"), [(429, [0.25, 0.5, 1, 2, 4, 6, 6]), (463, [6, 12, 24, 24]), (475, [6, 12, 24, 24])]
)
def test_a_refusal_of_the_number_holds_the_device_longer_each_time_and_costs_the_message_no_try(
    code: int, hours: list[float]
) -> None:
    rng = Random(1)
    for holds, expected in enumerate(hours):
        verdict = outcome.refused("server returned error", code, 4, rng, holds=holds)
        assert (verdict.state, verdict.counts, verdict.refund) == (lifecycle.WAITING, False, False)
        assert verdict.hold == verdict.retry_in == expected * 3_600
    assert outcome.refused("", code, 0, rng, holds=10_000).hold == hours[-1] * 3_600


def test_what_was_refused_in_five_holds_is_dead_and_holds_the_device_once_more() -> None:
    verdict = outcome.refused("", 463, 0, Random(1), refusals=4)
    assert (verdict.state, verdict.hold) == (lifecycle.DEAD, 6 * 3_600)


def test_an_offline_device_costs_no_try() -> None:
    verdict = outcome.not_sent("not connected", 4, Random(1))
    assert (verdict.state, verdict.counts, verdict.refund) == (lifecycle.WAITING, False, True)


def test_the_fifth_failed_try_is_the_last() -> None:
    states = [outcome.not_sent("no LID found", tries, Random(1)).state for tries in range(5)]
    assert states == [lifecycle.WAITING] * 4 + [lifecycle.DEAD]


def test_every_verdict_is_a_move_out_of_sending() -> None:
    rng = Random(1)
    verdicts = [outcome.sent(), outcome.unknown(""), outcome.not_sent("", 0, rng), outcome.template_error("x")]
    assert {verdict.state for verdict in verdicts} <= lifecycle.MESSAGE_MOVES[lifecycle.SENDING]


def test_every_state_belongs_to_exactly_one_figure() -> None:
    states = [state for group in lifecycle.FIGURES.values() for state in group]
    assert sorted(states) == sorted(lifecycle.MESSAGE_STATES)


def test_stop_words_are_recognised_in_many_languages_and_spellings() -> None:
    for text in (
        "STOP",
        " stop. ",
        "Stop!",
        "BERHENTI",
        "BAJA",
        "SAIR",
        "ARRÊT",
        "ARRET",
        "СТОП",
        "إيقاف",
        "unsubscribe",
    ):
        assert asks_to_stop(text), text
    for text in ("", "Please stop by tomorrow", "yes", "stopping", "👍"):
        assert not asks_to_stop(text), text
