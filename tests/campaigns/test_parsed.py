"""Parsed texts are kept while there is room."""

from __future__ import annotations

import pytest

from campaigns.compose import TextError
from campaigns.parsed import Parsed


def test_a_text_is_parsed_once() -> None:
    parsed = Parsed()
    template = parsed.template("Hi {{ name }}")
    assert parsed.template("".join(["Hi ", "{{ name }}"])) is template
    assert template.source == "Hi {{ name }}"


def test_the_texts_of_thousands_of_campaigns_fit() -> None:
    parsed = Parsed()
    texts = [f"Hi {{{{ name }}}}, your order {number} is on its way. Reply STOP to end it." for number in range(2_000)]
    first = [parsed.template(text) for text in texts]
    assert all(parsed.template(text) is template for text, template in zip(texts, first, strict=True))


def test_whichever_was_parsed_first_makes_room() -> None:
    parsed = Parsed(room=10)
    oldest, newer = parsed.template("aaaa"), parsed.template("bbbb")
    parsed.template("cccc")
    assert len(parsed) == 2
    assert parsed.template("bbbb") is newer
    assert parsed.template("aaaa") is not oldest
    parsed.template("longer than all the room")
    assert len(parsed) == 0


def test_a_text_that_cannot_be_read_is_not_kept() -> None:
    parsed = Parsed(room=20)
    for _ in range(3):
        with pytest.raises(TextError):
            parsed.template("Hi {{ name")
    assert len(parsed) == 0
    assert parsed.template("aaaa") is parsed.template("aaaa")
