"""A text as WhatsApp draws it, and nothing but that."""

from __future__ import annotations

import pytest

from campaigns.bubble import drawn


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*bold* _slanted_ ~gone~", "<strong>bold</strong> <em>slanted</em> <s>gone</s>"),
        ("*both _of_ them*", "<strong>both <em>of</em> them</strong>"),
        ("```a *b*\nc```", "<code>a *b*\nc</code>"),
        ("2*3*4 snake_case_name", "2*3*4 snake_case_name"),
        ("* no* and *no *", "* no* and *no *"),
        ("*one\nline*", "*one\nline*"),
        ("<b>*&*</b>", "&lt;b&gt;<strong>&amp;</strong>&lt;/b&gt;"),
        ("```<script>alert(1)</script>```", "<code>&lt;script&gt;alert(1)&lt;/script&gt;</code>"),
        ('*<img src=x onerror="a">*', "<strong>&lt;img src=x onerror=&quot;a&quot;&gt;</strong>"),
    ],
)
def test_marks_become_shapes_and_everything_else_is_escaped(text: str, html: str) -> None:
    assert drawn(text) == html
