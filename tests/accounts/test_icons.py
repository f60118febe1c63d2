"""Icons: as the library draws them, from its archive read once."""

from __future__ import annotations

import re

import pytest
from lucide.templatetags.lucide import lucide as drawn_by_library

from accounts.icons import bodies
from accounts.templatetags.pieces import lucide


def plain(svg: str) -> str:
    return re.sub(r"\s+", " ", svg).replace("> <", "><").replace(" />", "/>")


@pytest.mark.parametrize("name", ["upload", "search-x", "smartphone"])
def test_an_icon_is_as_its_library_draws_it(name: str) -> None:
    attributes = {"class": 'me-1 <"&', "aria_hidden": "true"}
    assert plain(lucide(name, size=18, **attributes)) == plain(drawn_by_library(name, size=18, **attributes))


def test_an_icon_that_there_is_not_is_an_error() -> None:
    with pytest.raises(KeyError):
        lucide("no-such-icon")


def test_every_icon_has_something_to_draw() -> None:
    assert len(bodies()) > 1_000
    assert all(body.startswith("<") and body.endswith("/>") for body in bodies().values())
