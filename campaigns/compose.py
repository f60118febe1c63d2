"""What a message says: Liquid texts, parsed once and rendered for each person within firm limits.

Only output, ``if``, ``unless``, ``case`` and ``assign`` exist, with filters that can neither loop, load nor grow
without bound (SECURITY 13). A text of plain words, simple variables and choices of words never enters the Liquid
interpreter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from liquid import BoundTemplate, Environment, RenderContext
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import Filter, FilteredExpression, Path
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.filters import misc, string
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.assign_tag import AssignNode
from liquid.exceptions import (
    BlockNestingError,
    LiquidError,
    LocalNamespaceLimitError,
    OutputStreamLimitError,
)
from liquid.expression import Expression
from liquid.token import TOKEN_CONTENT, Token
from liquid.utils import ReadOnlyChainMap

from campaigns.wordings import (
    Choice,
    ChoiceError,
    ChoiceNode,
    ChoiceTag,
    Pick,
    by_number,
    by_seed,
    choices_in,
    veiled,
    with_choices,
    wordings,
)

MAX_TEXT = 4096  # characters that leave for one person
MAX_CAPTION = 1024  # of them beside a file
MAX_SOURCE = 8192  # characters of the text as written
MAX_NESTING = 10
MAX_BLANKS = 100
MAX_UNCLOSED = 20
MAX_VALUE = 16_384  # characters of any value on the way
MAX_NUMBER = 10**15
AROUND = 40  # characters shown before and after a place
TAGS = ("content", "output", "illegal", "if", "unless", "case", "assign")
RESERVED = ("name", "first_name", "phone", "opt_out_link")
KEYWORDS = frozenset({"true", "false", "nil", "null", "empty", "blank", "and", "or", "contains", "not"})

Variables = Mapping[str, object]


class TextError(Exception):
    """A text that cannot be used. ``line`` and ``column`` count from 1; 0 where no place is to blame."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column

    def __str__(self) -> str:
        return f"Line {self.line}, column {self.column}: {self.message}" if self.line else self.message


@dataclass(frozen=True, slots=True)
class Name:
    """A variable that is simply put in."""

    key: str


@dataclass(frozen=True, slots=True)
class Either:
    """A choice of words at this place of the text, with the parts of each option."""

    place: int
    options: tuple[tuple[Part, ...], ...]


Part = str | Name | Either


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text. ``parts`` where it is only words, plain variables and choices of them, else ``liquid``."""

    source: str
    parts: tuple[Part, ...] | None
    liquid: LimitedTemplate | None
    choices: tuple[Choice, ...] = ()

    @property
    def wordings(self) -> int:
        """How many ways there are to say it; 1 where the author left no choice."""
        return wordings(self.choices)


def parse(text: str) -> Template:
    """Read a text as written; raises `TextError` with the place and the remedy."""
    if len(text) > MAX_SOURCE:
        raise TextError(f"The text has {len(text):,} characters; at most {MAX_SOURCE:,} can be written.")
    if "\0" in text:
        raise TextError("The text contains a character that cannot be sent (NUL).")
    if "{" not in text:
        return Template(text, (text,), None)
    if "{{" in text or "{%" in text:
        check_lexable(text)
    try:
        found: LimitedTemplate = LIQUID.from_string(text)
        check(found.nodes, text)
    except LiquidError as error:
        raise explain(error, text) from error
    except RecursionError:
        raise TextError("The text is nested too deeply.") from None
    return Template(text, simple_parts(found.nodes), found, choices_in(found.nodes))


def render(
    template: Template, variables: Variables, *, caption: bool = False, seed: int = 0, wording: int | None = None
) -> str:
    """The text for one person; raises `TextError` when it cannot be made, is too long, or is empty.

    A ``caption`` stands beside a file: it is shorter, and may be empty. ``seed``, the message's id, makes the author's
    choices of words, always in the same way; a ``wording`` from 1 to `Template.wordings` makes them instead.
    """
    pick = by_seed(seed) if wording is None else by_number(template.choices, wording)
    if template.parts is None:
        text = interpret(template, variables, pick)
    elif template.choices:
        text = "".join(said(template.parts, variables, pick))
    else:
        text = "".join([p if type(p) is str else words(variables.get(p.key)) for p in template.parts])  # type: ignore[union-attr]
    most = MAX_CAPTION if caption else MAX_TEXT
    if len(text) > most:
        beside = " beside a file" if caption else ""
        raise TextError(
            f"The text would have {len(text):,} characters for this person; at most {most:,} are sent{beside}."
        )
    if not caption and (not text or text.isspace()):
        raise TextError("The text would be empty for this person.")
    return text


def variables_for(name: str, phone: str, fields: Mapping[str, str], opt_out_link: str = "") -> dict[str, object]:
    """What a text can say about one person: each custom field under its name and under its slug."""
    found: dict[str, object] = {}
    for key, value in fields.items():
        found.setdefault(slug(key), value)
    found.update(fields)
    name = name.strip()
    found.update(name=name, first_name=name.split()[0] if name else "", phone=phone, opt_out_link=opt_out_link)
    return found


def variables_in(text: str) -> set[str]:
    """The names a text expects from outside; raises `TextError` like `parse`."""
    template = parse(text)
    if template.liquid is None:
        return set()
    return set(template.liquid.global_variables())


@dataclass(frozen=True, slots=True)
class Use:
    """A place where a variable is said, and what is said there without it. ``{{ other }}`` stands for another one."""

    word: str
    instead: str


def uses_of(template: Template) -> list[Use]:
    """Where the text says its variables, but for places that a condition on the same variable decides about."""
    return list(uses(template.liquid.nodes, frozenset())) if template.liquid else []


def uses(nodes: Iterable[Node], decided: frozenset[str]) -> Iterator[Use]:
    for node in nodes:
        if isinstance(node, OutputNode | AssignNode):
            expression = node.expression
            names = names_in(expression)
            for word in sorted(names - decided):
                others = {name: f"{{{{ {name} }}}}" for name in names - {word}}
                yield Use(word, said_by(expression, others).strip())
        else:
            about = decided.union(*(names_in(expression) for expression in node.expressions()))
            yield from uses(node.children(None, include_partials=False), about)


def names_in(expression: Expression) -> set[str]:
    paths = (found for found in with_children(expression) if isinstance(found, Path))
    return {path.path[0] for path in paths if isinstance(path.path[0], str)}


def said_by(expression: Expression, variables: Variables) -> str:
    """One expression alone; nothing where it cannot be worked out."""
    try:
        return words(expression.evaluate(Context(LIQUID.from_string(""), globals=variables)))
    except (LiquidError, TextError, RecursionError, ArithmeticError, ValueError, TypeError):
        return ""


def slug(field: str) -> str:
    """How a text calls a custom field: ``Order no.`` → ``order_no``."""
    word = re.sub(r"_+", "_", re.sub(r"\W", "_", field.lower())).strip("_")
    if not word or word[0].isdigit() or word in RESERVED or word in KEYWORDS:
        word = f"field_{word}".rstrip("_")
    return word


def words(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value)


def said(parts: Iterable[Part], variables: Variables, pick: Pick) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Name):
            yield words(variables.get(part.key))
        else:
            yield from said(part.options[pick(part.place, len(part.options))], variables, pick)


def simple_parts(nodes: Iterable[Node]) -> tuple[Part, ...] | None:
    """The text as words, plain variables and choices of them, or None where it needs the interpreter."""
    parts: list[Part] = []
    for node in nodes:
        if isinstance(node, ContentNode):
            parts.append(node.text)
            continue
        if isinstance(node, ChoiceNode):
            options = [simple_parts(block.nodes) for block in node.blocks]
            if None in options:
                return None
            parts.append(Either(node.place, tuple(options)))  # type: ignore[arg-type]
            continue
        path = node.expression.left if isinstance(node, OutputNode) else None
        if not isinstance(path, Path) or node.expression.filters or len(path.path) != 1:
            return None
        if not isinstance(path.path[0], str):
            return None
        parts.append(Name(path.path[0]))
    return tuple(parts)


def interpret(template: Template, variables: Variables, pick: Pick) -> str:
    assert template.liquid is not None
    try:
        return template.liquid.say(variables, pick)
    except OutputStreamLimitError:
        raise TextError(
            f"The text would be too long for this person; at most {MAX_TEXT:,} characters are sent."
        ) from None
    except LiquidError as error:
        raise explain(error, template.source) from error
    except (RecursionError, ArithmeticError, ValueError, TypeError) as error:
        raise TextError("The text cannot be worked out for this person.") from error


# --- what is refused before anything runs ---------------------------------------------------------------------------


def check_lexable(text: str) -> None:
    """Refuse what would keep Liquid's lexer busy for seconds."""
    # A few thousand blanks behind an unclosed brace.
    if blanks := re.search(rf"\s{{{MAX_BLANKS},}}", text):
        raise TextError(f"More than {MAX_BLANKS} blanks stand in a row.", *position(text, blanks.start()))
    # A few thousand open braces: it reads on to the end from each of them.
    after = max(text.rfind("}}"), 0)
    if text.count("{{", after) > MAX_UNCLOSED:
        raise TextError(
            "A variable begins with {{ but its closing }} is missing.", *position(text, text.find("{{", after))
        )


def check(nodes: Iterable[Node], text: str) -> None:
    """Refuse unknown filters and ranges now: Liquid itself would notice the one late and run the other at length."""
    for expression in expressions_of(nodes):
        if isinstance(expression, RangeLiteral):
            raise TextError("Ranges like (1..5) cannot be used here.", *place(text, expression.token))
        if not isinstance(expression, FilteredExpression):
            continue
        for used in expression.filters or ():
            check_filter(used, text)


def check_filter(used: Filter, text: str) -> None:
    if used.name not in LIQUID.filters:
        known = ", ".join(sorted(LIQUID.filters))
        raise TextError(f"There is no filter called “{used.name}”. You can use: {known}.", *place(text, used.token))


def expressions_of(nodes: Iterable[Node]) -> Iterator[Expression]:
    for node in nodes:
        for expression in node.expressions():
            yield from with_children(expression)
        yield from expressions_of(node.children(None, include_partials=False))


def with_children(expression: Expression) -> Iterator[Expression]:
    yield expression
    for child in expression.children():
        yield from with_children(child)


# --- errors in plain words ------------------------------------------------------------------------------------------


def position(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


def place(text: str, token: Any) -> tuple[int, int]:
    """Where the token stands; nowhere when Liquid only knows that something ended too early."""
    if token is None or not 0 <= token.start_index <= len(text):
        return 0, 0
    return position(text, token.start_index)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a text, and the line it is in: ``before`` the place, at it, and ``after`` it."""

    error: TextError
    before: str = ""
    at: str = ""
    after: str = ""


def problem_of(text: str) -> Problem | None:
    """Why a text as typed cannot be used; None when it can."""
    text = text.replace("\r\n", "\n")
    try:
        parse(text)
    except TextError as error:
        if not error.line:
            return Problem(error)
        line, column = text.split("\n")[error.line - 1], error.column - 1
        before, after = line[:column], line[column + 1 :]
        return Problem(
            error,
            before if len(before) <= AROUND else "…" + before[-AROUND:],
            line[column : column + 1] or " ",
            after if len(after) <= AROUND else after[:AROUND] + "…",
        )
    return None


PLAIN_WORDS = (
    (r"expected '}}'", "A variable begins with {{ but its closing }} is missing."),
    (r"missing tag name or closing", "A command begins with {% but its closing %} is missing."),
    (r"expected tag (end\w+)", "A condition is not closed: its {{% {0} %}} is missing."),
    (r"expected a primitive expression", "Something is missing between the braces."),
    (
        r"not supported between",
        "A text is compared with a number. Turn it into one first: {% assign n = n | plus: 0 %}.",
    ),
    (r"^(\w+)\(\) (?:missing|takes)", "The filter “{0}” is not given what it needs."),
    (r"unexpected liquid parsing error", "The text is too long or too deeply nested between braces."),
)


def explain(error: LiquidError, text: str) -> TextError:
    return TextError(in_plain_words(error), *place(text, error.token))


def in_plain_words(error: LiquidError) -> str:
    message = str(error.message or "")
    if isinstance(error, ChoiceError):
        return message
    if isinstance(error, BlockNestingError):
        return f"Conditions are nested too deeply; at most {MAX_NESTING} levels."
    if isinstance(error, LocalNamespaceLimitError):
        return "A value in the text grows too large."
    if tag := re.search(r"unexpected tag '([^']*)'", message):
        return unexpected_tag(tag[1])
    for pattern, said in PLAIN_WORDS:
        if found := re.search(pattern, message):
            return said.format(*found.groups()) if found.groups() else said
    return f"This cannot be understood: {message.rstrip('.')}."


def unexpected_tag(name: str) -> str:
    if name in "{|}":
        return "A condition that begins in an option of a choice must end in it, too."
    if name.startswith(("end", "els")) or name == "when":
        return f"{{% {name} %}} stands here without a condition that it belongs to."
    return f"{{% {name} %}} cannot be used here; you can use if, unless, case and assign."


# --- the reduced Liquid ---------------------------------------------------------------------------------------------


def bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose result cannot outgrow `MAX_VALUE`."""

    def filtered(value: object, *args: Any, **options: Any) -> Any:
        result = function(value, *args, **options)
        if isinstance(result, str) and len(result) > MAX_VALUE:
            raise TextError("A value in the text grows too large.")
        return result

    return filtered


def replace(value: object, old: object, new: object = "") -> str:
    """Counted before it is done, since every character may become a whole text."""
    text, old, new = words(value), words(old), words(new)
    if not old:
        return text
    if len(text) + text.count(old) * len(new) > 4 * MAX_VALUE:
        raise TextError("A value in the text grows too large.")
    return text.replace(old, new)


def number(value: object) -> int | float:
    """A value as a number, 0 when it is none; refuses what arithmetic could blow up."""
    if isinstance(value, str):
        text = value.strip()
        found = float(text) if re.fullmatch(r"[-+]?\d{1,15}(\.\d{1,15})?", text) else 0.0
        value = int(found) if found.is_integer() else found
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if not abs(value) <= MAX_NUMBER:
        raise TextError("A number in the text grows too large.")
    return value


def numeric(function: Callable[..., int | float]) -> Callable[..., int | float]:
    def filtered(value: object, *args: object) -> int | float:
        return number(function(number(value), *map(number, args)))

    return filtered


def divide(value: float, by: float) -> float:
    if by == 0:
        raise TextError("The text divides by zero.")
    return value // by if isinstance(value, int) and isinstance(by, int) else value / by


def modulo(value: float, by: float) -> float:
    if by == 0:
        raise TextError("The text divides by zero.")
    return value % by


def rounded(value: float, digits: float = 0) -> float:
    places = int(min(max(digits, 0), 10))
    return round(value, places) if places else math.floor(value + 0.5)


FILTERS: dict[str, Callable[..., Any]] = {
    "append": bounded(string.append),
    "capitalize": bounded(string.capitalize),
    "default": bounded(misc.default),
    "downcase": bounded(string.downcase),
    "lstrip": bounded(string.lstrip),
    "prepend": bounded(string.prepend),
    "remove": bounded(string.remove),
    "replace": bounded(replace),
    "rstrip": bounded(string.rstrip),
    "slice": bounded(string.slice_),
    "squish": bounded(string.squish),
    "strip": bounded(string.strip),
    "truncate": bounded(string.truncate),
    "truncatewords": bounded(string.truncatewords),
    "upcase": bounded(string.upcase),
    "abs": numeric(abs),
    "at_least": numeric(max),
    "at_most": numeric(min),
    "ceil": numeric(math.ceil),
    "divided_by": numeric(divide),
    "floor": numeric(math.floor),
    "minus": numeric(lambda value, other: value - other),
    "modulo": numeric(modulo),
    "plus": numeric(lambda value, other: value + other),
    "round": numeric(rounded),
    "times": numeric(lambda value, other: value * other),
    "size": lambda value: len(value) if isinstance(value, str) else 0,
}


class Context(RenderContext):
    """Without Liquid's ``now`` and ``today``: they would speak of the server's clock."""

    pick: Pick

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scope = ReadOnlyChainMap(self.locals, self.globals)


class LimitedTemplate(BoundTemplate):
    context_class = Context

    def say(self, variables: Variables, pick: Pick) -> str:
        """Like `render`, with somebody to make the author's choices."""
        context = Context(self, globals=variables)
        context.pick = pick
        buffer = self._get_buffer()
        self.render_with_context(context, buffer)
        return buffer.getvalue()

    def make_partial_namespace(self, partial: bool, render_args: Mapping[str, object]) -> Mapping[str, object]:
        return render_args


class LimitedEnvironment(Environment):
    template_class = LimitedTemplate
    block_nesting_limit = MAX_NESTING
    context_depth_limit = MAX_NESTING
    loop_iteration_limit = 1
    local_namespace_limit = 4 * MAX_VALUE
    output_stream_limit = 4 * MAX_TEXT  # bytes; the characters are counted afterwards

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters()
        for name in set(self.tags) - set(TAGS):
            del self.tags[name]
        self.add_tag(ChoiceTag)
        self.filters = dict(FILTERS)

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        lexer = super().tokenizer()

        def tokens(source: str) -> Iterator[Token]:
            source = veiled(source)
            if "{{" not in source and "{%" not in source:
                return with_choices([Token(TOKEN_CONTENT, source, 0, source)])
            return with_choices(lexer(source))

        return tokens


LIQUID = LimitedEnvironment()
