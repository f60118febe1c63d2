"""Pacing and outcomes: values in, values out."""

from __future__ import annotations

from random import Random

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
    assert outcome.refused("", 429, 0, rng).state == lifecycle.WAITING
    assert outcome.refused("", 463, 0, rng).state == lifecycle.DEAD


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
