"""Message texts: what they can say, what they refuse, and that no text can hurt the machine."""

from __future__ import annotations

import time

import pytest

from campaigns.compose import MAX_TEXT, Template, TextError, parse, render, slug, variables_for, variables_in

ANN = variables_for("Ann Lee", "+60123456789", {"city": "Ipoh", "Order No.": "7"})


def say(text: str, variables: dict[str, object] = ANN) -> str:
    return render(parse(text), variables)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello", "Hello"),
        ("Hello {{ name }}, {{first_name}}!", "Hello Ann Lee, Ann!"),
        ("{{ phone }}", "+60123456789"),
        ("Order {{ order_no }}", "Order 7"),
        ("Hi {{ nobody }}.", "Hi ."),
        ("Hi {{ nobody | default: 'friend' }}", "Hi friend"),
        ("{{ city | upcase | append: '!' }}", "IPOH!"),
        ("{% if city == 'Ipoh' %}near{% else %}far{% endif %}", "near"),
        ("{% unless city == 'Ipoh' %}far{% endunless %}x", "x"),
        ("{% case city %}{% when 'KL' %}A{% when 'Ipoh' %}B{% endcase %}", "B"),
        ("{% assign n = order_no | plus: 1 %}{% if n > 5 %}{{ n }}{% endif %}", "8"),
        ("{{ 7 | divided_by: 2 }} {{ 2.5 | round }} {{ '7' | plus: '2.5' }}", "3 3 9.5"),
        ("<script>alert(1)</script> {{ name }}", "<script>alert(1)</script> Ann Lee"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{{ now }}{{ today }}-", "-"),
        ("{{ name.__class__ }}{{ name['__init__'] }}-", "-"),
    ],
)
def test_a_text_says_what_it_should(text, said) -> None:
    assert say(text) == said


def test_values_are_never_read_as_a_text_themselves() -> None:
    assert (
        say("{{ name }}", variables_for("{{ phone }} {% include 'x' %}", "+1", {})) == "{{ phone }} {% include 'x' %}"
    )


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("Hi\n{% include 'secrets' %}", (2, 4), "{% include %} cannot be used here"),
        ("{% render 'x' %}", (1, 4), "cannot be used here"),
        ("{% for i in (1..9) %}x{% endfor %}", (1, 4), "cannot be used here"),
        ("{% tablerow i in (1..9) %}x{% endtablerow %}", (1, 4), "cannot be used here"),
        ("{% capture a %}x{% endcapture %}", (1, 4), "cannot be used here"),
        ("{% liquid echo 'x' %}", (1, 4), "cannot be used here"),
        ("{{ (1..1000000000) }}", (1, 4), "Ranges"),
        ("{% if (1..99999999999) contains 'x' %}{% endif %}", (1, 7), "Ranges"),
        ("Hi {{ name", (1, 4), "closing }} is missing"),
        ("Hi {% if name", (1, 4), "closing %} is missing"),
        ("Hi\n{% if name %}x", (0, 0), "{% endif %} is missing"),
        ("x {% endif %}", (1, 6), "without a condition"),
        ("{{ name | wat }}", (1, 11), "no filter called “wat”"),
        ("{{ 'now' | date: '%1000000000d' }}", (1, 12), "no filter called “date”"),
        ("{{ name surname }}", (1, 9), "cannot be understood"),
        ("Hi {{ }}", (0, 0), "Something is missing"),
        ("\0", (0, 0), "NUL"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_with_its_place(text, place, words) -> None:
    with pytest.raises(TextError) as error:
        parse(text)
    assert words in error.value.message
    assert (error.value.line, error.value.column) == place


@pytest.mark.parametrize(
    "text",
    [
        "{% assign a = 'xxxxxxxxxx' %}" + "{% assign a = a | append: a %}" * 100 + "{{ a }}",
        "{{ 'a'" + " | replace: 'a', 'aaaaaaaaaaaaaaaaaaaa'" * 150 + " }}",
        "{{ '" + "a" * 3900 + "' | replace: 'a', '" + "b" * 3900 + "' }}",
        "{% assign a = 99999 %}" + "{% assign a = a | times: a %}" * 100 + "{{ a }}",
        "{{ " + "9" * 8000 + " }}",
        "{{ 1" + "0" * 400 + ".0 | plus: 1 }}",
        "{{" + " " * 8000,
        "{% if" + " " * 8000,
        "{{" + " " * 8000 + "}}",
        "{{ " * 2700,
        "{{" * 4000,
        "{{ name }}" + "{{" * 4000,
        "{%raw%}" * 580 + "{{" * 2000,
        "{% raw %}" * 900,
        "{% if a %}" * 400 + "{% endif %}" * 400,
        "{% if a " + "and a " * 1300 + "%}x{% endif %}y",
        "{{ a" + "[a" * 1000 + "]" * 1000 + " }}",
        "{{ name | divided_by: 0 }}",
        "{% if name > 5 %}x{% endif %}",
        "x" * 10_000,
        "y" * 100_000_000,
    ],
)
def test_a_hostile_text_ends_quickly_and_in_plain_words(text) -> None:
    began = time.thread_time()  # of this thread alone: a busy machine is no slow text
    with pytest.raises(TextError) as error:
        say(text)
    assert time.thread_time() - began < 1
    assert "Traceback" not in str(error.value)
    assert len(error.value.message) < 400


def test_what_leaves_is_at_most_4096_characters_and_never_empty() -> None:
    assert len(say("x" * MAX_TEXT)) == MAX_TEXT
    assert len(say("{{ long | upcase }}", {"long": "😀" * MAX_TEXT})) == MAX_TEXT
    for text in ("x" * (MAX_TEXT + 1), "{{ long }}", "{{ long | upcase }}"):
        with pytest.raises(TextError, match=r"4,097"):
            say(text, {"long": "x" * (MAX_TEXT + 1)})
    with pytest.raises(TextError, match="empty for this person"):
        say(" {{ nobody }}\n")


def test_the_own_words_of_a_person_win_over_fields_of_the_same_name() -> None:
    found = variables_for(" Ann  Lee ", "+1", {"name": "evil", "phone": "evil", "First Name": "evil"})
    assert (found["name"], found["first_name"], found["phone"]) == ("Ann  Lee", "Ann", "+1")
    assert found["field_first_name"] == "evil"
    assert variables_for("", "+1", {})["first_name"] == ""


@pytest.mark.parametrize(
    ("field", "word"),
    [("City", "city"), ("Order no.", "order_no"), ("Città", "città"), ("1st", "field_1st"), ("true", "field_true")],
)
def test_a_custom_field_has_a_word_that_a_text_can_use(field, word) -> None:
    assert slug(field) == word
    assert say(f"{{{{ {word} }}}}", variables_for("", "+1", {field: "yes"})) == "yes"


def test_the_names_a_text_expects_are_known_without_those_it_makes_itself() -> None:
    text = "{% assign a = b | default: c %}{{ a }}{{ d }}{% if e == 'x' %}{{ f | append: g }}{% endif %}"
    assert variables_in(text) == {"b", "c", "d", "e", "f", "g"}
    assert variables_in("no variables") == set()


def test_simple_texts_are_rendered_many_times_faster_than_those_that_need_the_whole_language() -> None:
    """In CPU time and at best, which a busy machine changes little: it is some 15 times."""
    texts = ("Hi {{ first_name }}, see you in {{ city }}.", "Hi {{ first_name | append: '' }}, see you in {{ city }}.")
    assert say(texts[0]) == say(texts[1])
    simple, whole = ([cpu_time_of(parse(text)) for _ in range(5)] for text in texts)
    assert min(simple) * 5 < min(whole)


def cpu_time_of(template: Template) -> float:
    began = time.thread_time()
    for _ in range(300):
        render(template, ANN)
    return time.thread_time() - began
