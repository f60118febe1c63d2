"""The author's choices of words: which one is said, what is none, and where a mistake is."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress

import pytest

from campaigns.compose import TextError, parse, render, variables_for, variables_in

ANN = variables_for("Ann Lee", "+60123456789", {"city": "Ipoh", "trap": "{a|b}"})


def all_of(text: str) -> list[str]:
    template = parse(text)
    return [render(template, ANN, wording=number) for number in range(1, template.wordings + 1)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{Hello|Hi|Good day} Ann", ["Hello Ann", "Hi Ann", "Good day Ann"]),
        ("{Hi {{ first_name }}|Hello}!", ["Hi Ann!", "Hello!"]),
        ("{{{ name }}|friend}", ["Ann Lee", "friend"]),
        ("{a|{{ name }}}", ["a", "Ann Lee"]),
        ("{a|b}{1|2}", ["a1", "b1", "a2", "b2"]),
        ("{Hi{,| and} welcome|Hello}", ["Hi, welcome", "Hi and welcome", "Hello"]),
        ("{Hi|}x", ["Hix", "x"]),
        ("{% if city == 'Ipoh' %}{near|close}{% else %}far{% endif %}", ["near", "close"]),
        ("{{% if city %}here{% endif %}|there}", ["here", "there"]),
        ("{{% if city %}here{% endif %}|{{ city | upcase }}}", ["here", "IPOH"]),
        ("{% assign n = city %}{in {{ n }}|at {{ n }}}", ["in Ipoh", "at Ipoh"]),
        ("{{ trap }} {{ '{c|d}' }} {{ '{{{' }}", ["{a|b} {c|d} {{{"]),
        ("{% raw %}{a|b}{% endraw %}", ["{a|b}"]),
        ("{a  {%- if city -%} b {%- endif -%}  c|d}", ["abc", "d"]),
        ("plain | bars } and { braces {x}", ["plain | bars } and { braces {x}"]),
        (r"\{a|b\} \| \x ¯\_(ツ)_/¯", [r"{a|b} \| \x ¯\_(ツ)_/¯"]),
        (r"{a\|b|c\}|{d}}", ["a|b", "c}", "{d}"]),
        ("{ with {a|b}", ["{ with a", "{ with b"]),
        ("{{{{ name }}}}", ["{{Ann Lee}}"]),
    ],
)
def test_every_wording_of_a_text_can_be_seen(text: str, said: list[str]) -> None:
    assert all_of(text) == said
    assert {render(parse(text), ANN, seed=seed) for seed in range(60)} == set(said)


def test_a_message_says_the_same_each_time_and_people_hear_all_options_alike() -> None:
    text = "{a|b|c}{1|2} {{ name }}"
    said = [render(parse(text), ANN, seed=seed) for seed in range(600)]
    assert said == [render(parse(text), ANN, seed=seed) for seed in range(600)]
    counts = Counter(said)
    assert len(counts) == 6
    assert min(counts.values()) > 70


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("Hi\n  {a|b", (2, 3), "its closing } is missing"),
        ("x {a|{b|{c|d}}}", (1, 9), "no deeper"),
        ("{ first_name | default: 'you' }", (1, 1), "two braces"),
        ("Hi { name | upcase }", (1, 4), "two braces"),
        ("{a|{% if city %}b}c{% endif %}", (1, 18), "must end in it"),
        ("{% if city %}{a|b{% endif %}}", (1, 21), "without a condition"),
        ("a {b|c}\n{d|{{ name | nonsense }}}", (2, 14), "no filter called"),
        ("{%- if city -%}   {a|{% for %}", (1, 19), "its closing } is missing"),
        ("{" + "|".join("abcdefghijklmnopqrstu") + "}", (1, 1), "at most 20 options"),
        ("{a|b}" * 41, (1, 201), "at most 40 choices"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text: str, place: tuple[int, int], words: str) -> None:
    with pytest.raises(TextError) as refused:
        parse(text)
    assert words in refused.value.message
    assert (refused.value.line, refused.value.column) == place


@pytest.mark.parametrize("text", ["{|" * 4000, "{" * 8000, "{a|" * 2000 + "}" * 2000, "{a|b" * 2000, "\\{" * 4000])
def test_a_hostile_text_ends_quickly(text: str) -> None:
    began = time.thread_time()
    with suppress(TextError):
        parse(text)
    assert time.thread_time() - began < 3


def test_the_names_within_choices_are_known() -> None:
    assert variables_in("{Hi {{ name }}|{% if city %}Hello{% endif %}}") == {"name", "city"}


def test_the_number_of_wordings_may_be_vast() -> None:
    assert parse("{a|b|c|d}" * 40).wordings == 4**40
    assert len(render(parse("{a|b|c|d}" * 40), {}, wording=4**40)) == 40
