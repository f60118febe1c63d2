"""Segments: conditions over contacts, checked and turned into one question that PostgreSQL answers by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.db.models import Case, DecimalField, Exists, F, Func, OuterRef, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Coalesce, Collate, Length, Lower
from django.db.models.lookups import Exact, GreaterThan, IContains, In, IsNull, LessThan
from django.utils import timezone

from accounts.models import Workspace
from campaigns.models import (
    Contact,
    ContactStatus,
    ContactTag,
    CustomField,
    FieldKind,
    Message,
    Segment,
    Suppression,
    Tag,
)
from campaigns.numbers import on_whatsapp_check
from campaigns.querysets.contacts import ContactQuerySet
from devices.models import Device

RULES_MOST = 20
VALUE_LENGTH = 200
DAYS_MOST = 3_650
FIELD = "field:"
YES = ("yes", "y", "true", "1", "on")
NO = ("no", "n", "false", "0", "off")
NUMBER = r"^\s*([-+]?[0-9]+(?:\.[0-9]+)?)\s*$"  # as PostgreSQL reads patterns; so the next one
NUMBER_LENGTH = 61  # characters; bounds in the pattern make it four times as slow
DAY = "^[0-9]{4}-[0-9]{2}-[0-9]{2}"

# What may be said of what, and the words for it. A field's kind stands for its name.
WORDS: dict[str, dict[str, str]] = {
    "tag": {"has": "has", "has_not": "has not"},
    "status": {"is": "is", "is_not": "is not"},
    "consent": {"is": "is", "is_not": "is not"},
    "device": {"is": "is", "is_not": "is not", "is_set": "is known", "is_empty": "is not known"},
    "reply": {"within": "within the last … days", "not_within": "not within the last … days", "never": "never"},
    "message": {"within": "within the last … days", "not_within": "not within the last … days", "never": "never"},
    "added": {"within": "within the last … days", "not_within": "not within the last … days"},
    "whatsapp": {"is": "is", "is_not": "is not"},
    FieldKind.TEXT: {
        "is": "is",
        "is_not": "is not",
        "contains": "contains",
        "is_set": "is filled in",
        "is_empty": "is empty",
    },
    FieldKind.NUMBER: {
        "is": "is",
        "is_not": "is not",
        "more": "is more than",
        "less": "is less than",
        "is_set": "is filled in",
        "is_empty": "is empty",
    },
    FieldKind.DATE: {
        "is": "is",
        "is_not": "is not",
        "after": "is after",
        "before": "is before",
        "is_set": "is filled in",
        "is_empty": "is empty",
    },
    FieldKind.BOOLEAN: {"is": "is", "is_set": "is filled in", "is_empty": "is empty"},
}
SUBJECTS = {
    "tag": "Tag",
    "status": "Status",
    "consent": "Consent",
    "device": "Number they know",
    "reply": "Last reply",
    "message": "Last message they got",
    "added": "Added",
    "whatsapp": "On WhatsApp",
}
CHOICES: dict[str, dict[str, str]] = {
    "status": dict(ContactStatus.choices),
    "consent": {"agreed": "Agreed", "opted_out": "Opted out", "suppressed": "On the suppression list"},
    "whatsapp": {"yes": "Yes", "no": "No", "unknown": "Nobody knows"},
    FieldKind.BOOLEAN: {"yes": "Yes", "no": "No"},
}
VALUELESS = ("is_set", "is_empty", "never")
SINCE = ("reply", "message", "added")


class BadConditions(ValueError):
    """Conditions that mean nothing; its text says what is wrong, and ``rule`` with which of them (from 0)."""

    def __init__(self, words: str, rule: int | None = None) -> None:
        super().__init__(words)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition that makes sense. ``kind`` is ``what``, or the kind of the field that ``what`` names."""

    what: str
    kind: str
    operator: str
    value: str

    @property
    def field(self) -> str:
        return self.what.removeprefix(FIELD)


@dataclass(frozen=True, slots=True)
class Known:
    """What of the workspace the rules may speak of, asked once for all of them."""

    kinds: Mapping[str, str]
    tags: Mapping[str, int]
    devices: Mapping[str, int] = field(default_factory=dict)


def matching(
    workspace: Workspace, conditions: Mapping[str, Any], among: ContactQuerySet | None = None, most: int = 0
) -> ContactQuerySet:
    """Whom the conditions describe, of all or ``among`` these, in no order; nobody where there is no condition.

    Fit to be a subquery of millions. A tag or a device that is gone by now belongs to nobody. Raises BadConditions.
    ``most``: for a page; an index is asked now, and of up to so many whom it finds nobody else is looked at.
    """
    everybody = (Contact.objects.for_workspace(workspace) if among is None else among).order_by()
    if not conditions.get("rules"):
        return everybody.none()
    match, rules, known = _read(workspace, conditions)
    found = [_question(rule, known) for rule in rules]
    if match == "all":
        for question in found:
            everybody = everybody.filter(question)
        values = {rule.field: rule.value for rule in rules if (rule.kind, rule.operator) == (FieldKind.TEXT, "is")}
        return everybody.with_fields(values, workspace, most) if most else everybody
    either = Q()
    for question in found:
        either |= question
    return everybody.filter(either)


def members(segment: Segment, most: int = 0) -> ContactQuerySet:
    return matching(segment.workspace, segment.conditions, most=most)


def check(workspace: Workspace, conditions: Mapping[str, Any]) -> None:
    """Raises BadConditions where there is no condition, or one with unknown words, or a tag or device is not there."""
    if not conditions.get("rules"):
        raise BadConditions("Add at least one condition.")
    _match, rules, known = _read(workspace, conditions)
    for number, rule in enumerate(rules):
        if rule.kind == "tag" and rule.value not in known.tags:
            raise BadConditions(f"There is no tag “{rule.value}”.", number)
        if rule.kind == "device" and rule.operator not in VALUELESS and rule.value not in known.devices:
            raise BadConditions("Choose one of your devices.", number)


def kinds_of(workspace: Workspace) -> dict[str, str]:
    """Name of each custom field that has a kind → its kind."""
    return dict(CustomField.objects.for_workspace(workspace).values_list("name", "kind"))


def in_words(workspace: Workspace, rule: Mapping[str, Any]) -> str:
    """A condition that makes sense, as people say it: ``city contains “Kuala”``, ``Tag has vip``."""
    read = _rule(rule, kinds_of(workspace), 0)
    subject = SUBJECTS.get(read.what, read.field)
    said = WORDS[read.kind][read.operator]
    if read.kind in SINCE and read.operator != "never":
        days = f"{int(read.value):,} day{'' if read.value == '1' else 's'}"
        return f"{subject} {said.replace('… days', days)}"
    if read.operator in VALUELESS:
        return f"{subject} {said}"
    if read.kind == "device":
        device = Device.objects.for_workspace(workspace).filter(uuid=read.value).first()
        return f"{subject} {said} {device.name if device else 'gone'}"
    value = CHOICES.get(read.kind, {}).get(read.value, read.value)
    return f"{subject} {said} {value}" if read.kind in SUBJECTS else f"{subject} {said} “{value}”"


# ------------------------------------------------------------------------------------------ what they say


def _read(workspace: Workspace, conditions: Mapping[str, Any]) -> tuple[str, list[Rule], Known]:
    match, raw = conditions.get("match", "all"), conditions["rules"]
    if match not in ("all", "any"):
        raise BadConditions("Say whether all or any of the conditions must hold.")
    if not isinstance(raw, list) or not all(isinstance(rule, dict) for rule in raw):
        raise BadConditions("Conditions are a list of rules.")
    if len(raw) > RULES_MOST:
        raise BadConditions(f"{RULES_MOST} conditions are the most.")
    kinds = kinds_of(workspace)
    rules = [_rule(rule, kinds, number) for number, rule in enumerate(raw)]
    return match, rules, _known(workspace, rules, kinds)


def _rule(raw: Mapping[str, Any], kinds: Mapping[str, str], number: int) -> Rule:
    what, operator, value = raw.get("what"), raw.get("is"), raw.get("value", "")
    if not isinstance(what, str) or not what or "\0" in what:
        raise BadConditions("Choose what the condition is about.", number)
    if what not in SUBJECTS and not (what.startswith(FIELD) and len(FIELD) < len(what) <= VALUE_LENGTH):
        raise BadConditions(f"“{what[:60]}” is nothing to ask about.", number)
    kind = what if what in SUBJECTS else kinds.get(what.removeprefix(FIELD), FieldKind.TEXT)
    if not isinstance(operator, str) or operator not in WORDS[kind]:
        raise BadConditions("Choose how to compare.", number)
    if operator in VALUELESS:
        return Rule(what, kind, operator, "")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadConditions("Say what to compare with.", number)
    try:
        return Rule(what, kind, operator, CLEANED.get(kind, clean_text)(str(value)))
    except ValueError as problem:
        raise BadConditions(str(problem), number) from None


def clean_text(value: str) -> str:
    text = value.replace("\0", "").strip()
    if not text:
        raise ValueError("Say what to compare with.")
    if len(text) > VALUE_LENGTH:
        raise ValueError(f"{VALUE_LENGTH} characters are the most.")
    return text


def clean_days(value: str) -> str:
    text = value.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= DAYS_MOST):
        raise ValueError(f"Say how many days: 1 to {DAYS_MOST:,}.")
    return str(int(text))


def clean_number(value: str) -> str:
    """As `_number` reads it. Raises ValueError."""
    text = value.replace(" ", "").replace("\0", "")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("Write a number, like 12 or 12.5.") from None
    if not number.is_finite() or abs(number) >= Decimal(10) ** 20:
        raise ValueError("Write a number of at most 20 digits.")
    plain = f"{number:.10f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{number:f}"
    return "0" if plain == "-0" else plain


def clean_date(value: str) -> str:
    try:
        return date.fromisoformat(value.strip()).isoformat()
    except ValueError:
        raise ValueError("Write a date as year-month-day, like 2026-11-27.") from None


def clean_yes(value: str) -> str:
    word = value.strip().lower()
    if word not in (*YES, *NO):
        raise ValueError("Say yes or no.")
    return "yes" if word in YES else "no"


def clean_uuid(value: str) -> str:
    try:
        return str(UUID(value.strip()))
    except ValueError:
        raise ValueError("Choose one of your devices.") from None


def _one_of(kind: str) -> Callable[[str], str]:
    def clean(value: str) -> str:
        if value not in CHOICES[kind]:
            raise ValueError("Choose one of the values.")
        return value

    return clean


CLEANED: dict[str, Callable[[str], str]] = {
    "status": _one_of("status"),
    "consent": _one_of("consent"),
    "whatsapp": _one_of("whatsapp"),
    "device": clean_uuid,
    **dict.fromkeys(SINCE, clean_days),
    FieldKind.NUMBER: clean_number,
    FieldKind.DATE: clean_date,
    FieldKind.BOOLEAN: clean_yes,
}


def _known(workspace: Workspace, rules: Iterable[Rule], kinds: Mapping[str, str]) -> Known:
    names = {rule.value for rule in rules if rule.kind == "tag"}
    uuids = {rule.value for rule in rules if rule.kind == "device" and rule.value}
    tags = Tag.objects.for_workspace(workspace).filter(name__in=names) if names else Tag.objects.none()
    devices = Device.objects.for_workspace(workspace).filter(uuid__in=uuids) if uuids else Device.objects.none()
    return Known(
        kinds,
        dict(tags.values_list("name", "pk")),
        {str(uuid): pk for uuid, pk in devices.values_list("uuid", "pk")},
    )


# -------------------------------------------------------------------------------------------- what they ask


def _question(rule: Rule, known: Known) -> Q:
    match rule.kind:
        case "tag":
            has = _has_tag(known.tags.get(rule.value))
            return has if rule.operator == "has" else ~has
        case "status":
            is_it = Q(status=rule.value)
        case "consent":
            is_it = _consent(rule.value)
        case "whatsapp":
            is_it = on_whatsapp_check(rule.value)
        case "device":
            if rule.operator in VALUELESS:
                return Q(device__isnull=rule.operator == "is_empty")
            # NOT (device = 3) is not known where no device is: those do not know this one either.
            pk = known.devices.get(rule.value, 0)
            return Q(device=pk) if rule.operator == "is" else Q(device__isnull=True) | ~Q(device=pk)
        case "reply" | "message" | "added":
            return _since(rule)
        case _:
            return _field(rule)
    return is_it if rule.operator == "is" else ~is_it


def _has_tag(tag_id: int | None) -> Q:
    links: QuerySet[ContactTag] = QuerySet(ContactTag).filter(contact=OuterRef("pk"), tag=tag_id or 0)
    return Q(Exists(links))


def _consent(value: str) -> Q:
    suppressed = Exists(Suppression.objects.filter(workspace=OuterRef("workspace"), phone=OuterRef("phone")))
    match value:
        case "suppressed":
            return Q(suppressed)
        case "opted_out":
            return Q(opted_out_at__isnull=False)
        case _:
            return Q(opted_out_at__isnull=True) & ~Q(suppressed)


def _since(rule: Rule) -> Q:
    """Never is not within any number of days, so that "not within" holds for it."""
    since = timezone.now() - timedelta(days=int(rule.value or 0))
    if rule.kind == "added":
        within = Q(created_at__gt=since)
    elif rule.kind == "reply":
        if rule.operator == "never":
            return Q(last_reply_at__isnull=True)
        if rule.operator == "not_within":
            return Q(last_reply_at__isnull=True) | Q(last_reply_at__lte=since)
        within = Q(last_reply_at__gt=since)
    else:
        sent = Message.objects.filter(contact=OuterRef("pk"), workspace=OuterRef("workspace"))
        if rule.operator == "never":
            return ~Q(Exists(sent.filter(sent_at__isnull=False)))
        within = Q(Exists(sent.filter(sent_at__gt=since)))
    return within if rule.operator == "within" else ~within


def field_value(name: str) -> Func:
    """A custom field's value as text, null where it has none. Not a JSON path: a field may be called 0."""
    key = Func(Value(name), template="%(expressions)s::text", output_field=TextField())
    return Func(F("fields"), key, template="(%(expressions)s)", arg_joiner=" ->> ", output_field=TextField())


def field_text(name: str) -> Coalesce:
    return Coalesce(field_value(name), Value(""), output_field=TextField())


def _number(text: Func) -> Case:
    """The number that a text is; null where it is none, so that no value can break the statement.

    Nothing but digits needs no pattern, which takes three times as long.
    """
    beside_digits = Func(text, Value("0123456789"), Value(""), function="translate", output_field=TextField())
    digits = Func(text, template="(%(expressions)s)::numeric", output_field=DecimalField())
    number = Func(text, template=f"substring(%(expressions)s from '{NUMBER}')::numeric", output_field=DecimalField())
    read = Case(When(Exact(beside_digits, Value("")), then=digits), default=number, output_field=DecimalField())
    fits = Q(LessThan(Length(text), NUMBER_LENGTH + 1)) & Q(GreaterThan(Length(text), 0))
    return Case(When(fits, then=read), output_field=DecimalField())


def _may_be_more(text: Func, other: Decimal) -> Q:
    """True of each text whose number is larger: it is longer than the digits of the other, or it is nothing but digits
    and comes after them. Read in a third of the time that `_number` takes, and few others pass."""
    if other < 0:
        return Q()
    digits = str(int(other))
    return Q(GreaterThan(Length(text), len(digits))) | Q(GreaterThan(Collate(text, "C"), Value(digits)))


def _day(text: Func) -> Collate:
    """The ISO date that a text begins with. Compared as text: casting the 31st of February would raise."""
    day = Func(text, template=f"substring(%(expressions)s from '{DAY}')", output_field=TextField())
    return Collate(day, "C")


def _field(rule: Rule) -> Q:
    text = field_text(rule.field)
    if rule.operator in VALUELESS:
        empty = Q(Exact(text, Value("")))
        return empty if rule.operator == "is_empty" else ~empty
    if rule.kind == FieldKind.BOOLEAN:
        return Q(In(Lower(text), YES if rule.value == "yes" else NO))
    if rule.kind == FieldKind.TEXT:
        if rule.operator == "contains":
            return Q(IContains(text, rule.value))
        is_it = Q(Exact(Lower(text), Lower(Value(rule.value))))
        return is_it if rule.operator == "is" else ~is_it
    value = field_value(rule.field)
    mine = _number(value) if rule.kind == FieldKind.NUMBER else _day(value)
    other = Value(Decimal(rule.value)) if rule.kind == FieldKind.NUMBER else Value(rule.value)
    match rule.operator:
        case "more":
            return _may_be_more(value, Decimal(rule.value)) & Q(GreaterThan(mine, other))
        case "after":
            return Q(GreaterThan(mine, other))
        case "less" | "before":
            return Q(LessThan(mine, other))
        case "is":
            return Q(Exact(mine, other))
        case _:
            return Q(IsNull(mine, True)) | ~Q(Exact(mine, other))
