"""A text as WhatsApp draws it, and nothing but that."""

from __future__ import annotations

import time

import pytest

from campaigns.bubble import drawn


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*bold* _slanted_ ~gone~", "<strong>bold</strong> <em>slanted</em> <s>gone</s>"),
        ("*both _of_ them*", "<strong>both <em>of</em> them</strong>"),
        ("```a *b*\nc```", "<code>a *b*\nc</code>"),
        ("2*3*4 snake_case_name", "2*3*4 snake_case_name"),
        ("so * no* and *no *", "so * no* and *no *"),
        ("`a *b*` and `c", "<code>a *b*</code> and `c"),
        ("Bring:\n* one\n- *two*\nDone", "Bring:<ul><li>one</li><li><strong>two</strong></li></ul>Done"),
        ("2. two\n3. three\n10.5", '<ol><li value="2">two</li><li value="3">three</li></ol>10.5'),
        ("> said\n> _twice_\n\nno", "<blockquote>said\n<em>twice</em></blockquote>\nno"),
        ("```x\n* y```\n* z", "<code>x\n* y</code><ul><li>z</li></ul>"),
        ("- ", "- "),
        (
            "See https://example.com/a_b_c?x=1&y=2.",
            'See <a href="https://example.com/a_b_c?x=1&amp;y=2" target="_blank" rel="noopener noreferrer nofollow">'
            "https://example.com/a_b_c?x=1&amp;y=2</a>.",
        ),
        ("javascript:alert(1) data:text/html,x", "javascript:alert(1) data:text/html,x"),
        (
            'https://x.com/"onmouseover="alert(1)',
            '<a href="https://x.com/" target="_blank" rel="noopener noreferrer nofollow">https://x.com/</a>'
            "&quot;onmouseover=&quot;alert(1)",
        ),
        ("* <img src=x onerror=alert(1)>", "<ul><li>&lt;img src=x onerror=alert(1)&gt;</li></ul>"),
        ("> </blockquote><script>", "<blockquote>&lt;/blockquote&gt;&lt;script&gt;</blockquote>"),
        ("`<svg onload=alert(1)>`", "<code>&lt;svg onload=alert(1)&gt;</code>"),
        ("{0} {} %s", "{0} {} %s"),
        ("*one\nline*", "*one\nline*"),
        ("<b>*&*</b>", "&lt;b&gt;<strong>&amp;</strong>&lt;/b&gt;"),
        ("```<script>alert(1)</script>```", "<code>&lt;script&gt;alert(1)&lt;/script&gt;</code>"),
        ('*<img src=x onerror="a">*', "<strong>&lt;img src=x onerror=&quot;a&quot;&gt;</strong>"),
    ],
)
def test_marks_become_shapes_and_everything_else_is_escaped(text: str, html: str) -> None:
    assert drawn(text) == html


@pytest.mark.parametrize(
    "text", ["*" * 4096, "_*~" * 1365, "`" * 4096, "* " * 2048, "> " * 2048, "```a" * 1024, "*a " * 1365]
)
def test_a_hostile_text_is_drawn_quickly(text: str) -> None:
    began = time.thread_time()  # of this thread alone: a busy machine is no slow drawing
    drawn(text)
    assert time.thread_time() - began < 1
