"""An author's choice of words: ``{Hello|Hi}`` says one or the other, the same at every rendering of a message.

A choice stands in single braces with a bar between its options; it may hold variables, conditions and one more choice.
Braces without a bar are only braces, and a backslash makes ``\\{``, ``\\|`` and ``\\}`` what they look like. The values
of variables are never read for choices. To Liquid a choice is a tag of its own, so that places in errors stay true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import prod
from typing import Any, TextIO

from liquid import Token, TokenStream
from liquid.ast import BlockNode, Node
from liquid.context import RenderContext
from liquid.exceptions import LiquidSyntaxError
from liquid.parser import get_parser
from liquid.tag import Tag
from liquid.token import TOKEN_CONTENT, TOKEN_TAG

MAX_CHOICES = 40
MAX_OPTIONS = 20
MAX_DEPTH = 2  # a choice, and one in an option of it
OPEN, BAR, CLOSE = "{", "|", "}"
# A brace before two others would end up in Liquid's; a text cannot contain NUL itself.
STAND_IN = "\0"
BEFORE_LIQUID = re.compile(r"\{(?=\{[{%]|\{%)")
SIGNS = re.compile(r"\\[{}|\0]|[{}|\0]")
FILTERED = re.compile(
    r"\s*[a-z_]\w*\s*\|\s*[a-z_]+\s*:|\s+[a-z_]\w*\s+\|\s+(?:upcase|downcase|capitalize|strip)\s*[|}]"
)

Pick = Callable[[int, int], int]  # (place of a choice, how many options it has) → which of them, from 0


class ChoiceError(LiquidSyntaxError):
    """A choice that cannot be made; the message is ready to be read."""


@dataclass(frozen=True, slots=True)
class Choice:
    """``place``: the index of its brace in the text. Each option is the choices within it."""

    place: int
    options: tuple[tuple[Choice, ...], ...]

    @property
    def wordings(self) -> int:
        return sum(wordings(option) for option in self.options)


def wordings(choices: Iterable[Choice]) -> int:
    """In how many ways they can be made together."""
    return prod(choice.wordings for choice in choices)


def by_seed(seed: int) -> Pick:
    """Each choice by itself, at random, and for the same seed always alike."""

    def pick(place: int, options: int) -> int:
        return int.from_bytes(blake2b(b"%d:%d" % (seed, place), digest_size=8).digest()) % options

    return pick


def by_number(choices: Sequence[Choice], number: int) -> Pick:
    """The n-th of all wordings, counted from 1; beyond the last it begins again."""
    picked: dict[int, int] = {}

    def spread(choices: Sequence[Choice], number: int) -> None:
        for choice in choices:
            number, rest = divmod(number, choice.wordings)
            for index, option in enumerate(choice.options):
                if rest < (own := wordings(option)):
                    picked[choice.place] = index
                    spread(option, rest)
                    break
                rest -= own

    spread(choices, number - 1)
    return lambda place, options: picked.get(place, 0)


# --- reading them ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Brace:
    """An open one and what was seen since: where its bars are, as (index of the token, offset in its value)."""

    at: tuple[int, int]
    bars: list[tuple[int, int]] = field(default_factory=list)


def veiled(source: str) -> str:
    """The text for Liquid's lexer, as long as before."""
    return BEFORE_LIQUID.sub(STAND_IN, source)


def with_choices(tokens: Iterable[Token]) -> Iterator[Token]:
    """Liquid's tokens with those of choices between them. Raises `ChoiceError`."""
    found = [token._replace(value=token.value.replace(STAND_IN, OPEN)) if is_code(token) else token for token in tokens]
    signs = signs_of(found)
    depth = 0
    for index, token in enumerate(found):
        if is_code(token):
            yield token
            continue
        start, value = start_of(token), token.value
        words, since = [], 0
        end = 0
        for sign in SIGNS.finditer(value):
            meaning = signs.get((index, sign.start()))
            if meaning is None:
                words.append(value[end : sign.start()] + plain(sign[0], depth))
                end = sign.end()
                continue
            words.append(value[end : sign.start()])
            if text := "".join(words):
                yield Token(TOKEN_CONTENT, text, start + since, token.source)
            words, since = [], sign.end()
            end = sign.end()
            place = Token(TOKEN_TAG, meaning, start + sign.start(), token.source)
            depth += {OPEN: 1, BAR: 0, CLOSE: -1}[meaning]
            if depth > MAX_DEPTH:
                raise ChoiceError("Choices can be nested one within another, and no deeper.", token=place)
            yield place
        words.append(value[end:])
        if text := "".join(words):
            yield Token(TOKEN_CONTENT, text, start + since, token.source)


def signs_of(tokens: Sequence[Token]) -> dict[tuple[int, int], str]:
    """Where the signs of choices are, and what each means. All others are words."""
    signs: dict[tuple[int, int], str] = {}
    opened: list[Brace] = []
    choices = 0
    for index, token in enumerate(tokens):
        if is_code(token):
            continue
        for sign in SIGNS.finditer(token.value):
            at = (index, sign.start())
            if sign[0] in (OPEN, STAND_IN):
                opened.append(Brace(at))
            elif sign[0] == BAR and opened:
                opened[-1].bars.append(at)
            elif sign[0] == CLOSE and opened:
                brace = opened.pop()
                if brace.bars:
                    choices += 1
                    check_choice(tokens, brace, choices)
                    signs |= {brace.at: OPEN, at: CLOSE} | dict.fromkeys(brace.bars, BAR)
    for brace in opened:
        if brace.bars:
            raise ChoiceError(
                "A choice begins with { but its closing } is missing. For a brace as such write \\{.",
                token=token_at(tokens, brace.at),
            )
    return signs


def check_choice(tokens: Sequence[Token], brace: Brace, choices: int) -> None:
    place = token_at(tokens, brace.at)
    if len(brace.bars) >= MAX_OPTIONS:
        raise ChoiceError(f"A choice has at most {MAX_OPTIONS} options.", token=place)
    if choices > MAX_CHOICES:
        raise ChoiceError(f"A text has at most {MAX_CHOICES} choices.", token=place)
    if FILTERED.match(place.source, place.start_index + 1):
        raise ChoiceError("A variable stands in two braces on each side: {{ … }}.", token=place)


def is_code(token: Token) -> bool:
    """All but the author's words; those between ``raw`` and ``endraw`` stay as they are."""
    return token.kind != TOKEN_CONTENT or token.source.startswith("{%", token.start_index)


def start_of(token: Token) -> int:
    """Where the value begins; the lexer leaves blanks out that a ``-%}`` before them takes away."""
    start = token.start_index
    while not token.source.startswith(token.value[:1], start):
        start += 1
    return start


def token_at(tokens: Sequence[Token], at: tuple[int, int]) -> Token:
    token = tokens[at[0]]
    return token._replace(start_index=start_of(token) + at[1])


def plain(sign: str, depth: int) -> str:
    """What stands in the message for a sign that means no choice."""
    if sign == "\\|":
        return BAR if depth else sign
    return sign[-1].replace(STAND_IN, OPEN)


# --- as a tag of Liquid ---------------------------------------------------------------------------------------------


class ChoiceNode(Node):
    def __init__(self, token: Token, blocks: list[BlockNode]) -> None:
        super().__init__(token)
        self.place = token.start_index
        self.blocks = blocks
        self.blank = False

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        pick: Pick = context.pick
        chosen = self.blocks[pick(self.place, len(self.blocks))]
        return sum(node.render(context, buffer) for node in chosen.nodes)

    def children(self, static_context: Any, *, include_partials: bool = True) -> Iterable[Node]:
        return self.blocks


class ChoiceTag(Tag):
    """Its names are ones that no author can write between ``{%`` and ``%}``."""

    name = OPEN
    end = CLOSE

    def parse(self, stream: TokenStream) -> ChoiceNode:
        token = stream.eat(TOKEN_TAG)
        parse_block = get_parser(self.env).parse_block
        blocks = [parse_block(stream, (BAR, CLOSE))]
        while stream.current.is_tag(BAR):
            next(stream)
            blocks.append(parse_block(stream, (BAR, CLOSE)))
        stream.expect(TOKEN_TAG, CLOSE)
        return ChoiceNode(token, blocks)


def choices_in(nodes: Iterable[Node]) -> tuple[Choice, ...]:
    """All choices of a parsed text, those within conditions among them."""
    found: list[Choice] = []
    for node in nodes:
        if isinstance(node, ChoiceNode):
            found.append(Choice(node.place, tuple(choices_in(block.nodes) for block in node.blocks)))
        else:
            found += choices_in(node.children(None, include_partials=False))
    return tuple(found)
