"""The builder of segments: its rows of what, is and value, as they stand in a form and as conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from accounts.models import Workspace
from campaigns.fields import Field, fields_of
from campaigns.forms.people import known_devices
from campaigns.models import FieldKind, Segment, Tag
from campaigns.segments import CHOICES, FIELD, RULES_MOST, SINCE, SUBJECTS, VALUELESS, WORDS

NAME_LENGTH = 80
TAGS_OFFERED = 500


@dataclass(frozen=True, slots=True)
class Row:
    """One condition as the page shows it. ``choices``: empty where a value is typed."""

    what: str
    operator: str
    value: str
    operators: list[tuple[str, str]]
    choices: list[tuple[str, str]]
    input: str
    error: str = ""

    @property
    def valueless(self) -> bool:
        return self.operator in VALUELESS


class Builder:
    """Name, match and rows; from a form that was sent, a segment, or a list's conditions. ``errors`` by place."""

    def __init__(self, workspace: Workspace, name: str, match: str, rules: Sequence[dict[str, Any]]) -> None:
        self.workspace = workspace
        self.name = name
        self.match = "any" if match == "any" else "all"
        self.rules = list(rules)[:RULES_MOST]
        self.name_error = ""
        self.error = ""
        self.rule_errors: dict[int, str] = {}
        self._fields: list[Field] | None = None

    @classmethod
    def posted(cls, workspace: Workspace, data: QueryDict) -> Builder:
        columns = zip(data.getlist("what"), data.getlist("is"), data.getlist("value"), strict=False)
        rules = [{"what": what, "is": operator, "value": value} for what, operator, value in columns]
        removed = data.get("remove", "")
        if removed.isascii() and removed.isdecimal() and len(removed) < 4 and int(removed) < len(rules):
            del rules[int(removed)]
        if "add" in data and len(rules) < RULES_MOST:
            rules.append({"what": "tag", "is": "has", "value": ""})
        return cls(workspace, " ".join(data.get("name", "").replace("\0", "").split()), data.get("match", ""), rules)

    @classmethod
    def of(cls, segment: Segment) -> Builder:
        conditions = segment.conditions
        return cls(segment.workspace, segment.name, conditions.get("match", "all"), conditions.get("rules", []))

    @property
    def conditions(self) -> dict[str, Any]:
        return {"match": self.match, "rules": self.rules}

    @property
    def fields(self) -> list[Field]:
        if self._fields is None:
            self._fields = fields_of(self.workspace)
        return self._fields

    def subjects(self) -> list[tuple[str, str]]:
        """What a condition may be about: (word, label). A field that only a rule names is among them."""
        named = [field.name for field in self.fields]
        other = {rule["what"] for rule in self.rules if str(rule["what"]).startswith(FIELD)}
        own = [f"{FIELD}{name}" for name in named]
        return [*SUBJECTS.items(), *((what, what.removeprefix(FIELD)) for what in [*own, *sorted(other - set(own))])]

    def rows(self) -> list[Row]:
        kinds = {f"{FIELD}{field.name}": field.kind for field in self.fields}
        tags: list[tuple[str, str]] | None = None
        devices: list[tuple[str, str]] | None = None
        found = []
        for number, rule in enumerate(self.rules):
            what = str(rule.get("what", ""))
            kind = what if what in SUBJECTS else kinds.get(what, FieldKind.TEXT)
            operators = list(WORDS[kind].items())
            operator = rule.get("is") if rule.get("is") in WORDS[kind] else operators[0][0]
            value = str(rule.get("value", ""))
            choices = list(CHOICES.get(kind, {}).items())
            if kind == "tag":
                tags = tags if tags is not None else self._tags()
                choices = tags
            elif kind == "device":
                devices = devices if devices is not None else known_devices(self.workspace)
                choices = devices
            elif kind in SINCE and not value:
                value = "30"
            if choices and value not in dict(choices):
                choices = [("", "Choose…"), *choices]
            typed = "number" if kind in SINCE else "date" if kind == FieldKind.DATE else "text"
            found.append(Row(what, str(operator), value, operators, choices, typed, self.rule_errors.get(number, "")))
        return found

    def _tags(self) -> list[tuple[str, str]]:
        names = list(Tag.objects.for_workspace(self.workspace).values_list("name", flat=True)[:TAGS_OFFERED])
        asked = [str(rule.get("value")) for rule in self.rules if rule.get("what") == "tag" and rule.get("value")]
        there = Tag.objects.for_workspace(self.workspace).filter(name__in=[name for name in asked if "\0" not in name])
        beyond = [name for name in there.values_list("name", flat=True) if name not in set(names)]
        return [(name, name) for name in [*names, *beyond]]
