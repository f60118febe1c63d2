"""The filters of the list of contacts: as they stand in an address, in words, and as a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.http import urlencode

from accounts.models import Workspace
from campaigns.models import Contact, ContactImport, ContactStatus, Segment, Tag
from campaigns.numbers import on_whatsapp, unchecked
from campaigns.querysets.contacts import ContactQuerySet
from campaigns.querysets.search import FEW
from campaigns.segments import BadConditions, check, in_words, matching
from devices.models import Device

SEARCH_LENGTH = 100
# Every word of the address that narrows the list. The last three belong together.
WORDS = ("q", "tag", "status", "consent", "whatsapp", "device", "reply", "segment", "import", "field", "is", "value")
REPLIES = {
    "7": "Replied in the last 7 days",
    "30": "Replied in the last 30 days",
    "90": "Replied in the last 90 days",
    "not-90": "Not replied in the last 90 days",
    "never": "Never replied",
}
CONSENT = {"agreed": "Agreed", "opted-out": "Opted out"}
WHATSAPP = {"yes": "On WhatsApp", "no": "Not on WhatsApp", "unknown": "Nobody knows whether on WhatsApp"}
KNOWN = {"status": ContactStatus.values, "reply": REPLIES, "consent": CONSENT, "whatsapp": WHATSAPP}


class NotThere(Exception):
    """A segment or an import that this workspace does not have."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter in words, and what the address asks without it."""

    words: str
    query: str


class Filters:
    """Made from an address. Raises NotThere.

    What makes no sense there finds nobody, and ``unclear`` says why: were it left out, "delete all that were found"
    would mean more people than somebody asked for. ``asked``: the words that count, to be asked again later.
    """

    def __init__(self, workspace: Workspace, query: Mapping[str, Any]) -> None:
        self.workspace = workspace
        self.asked = {word: text for word in WORDS if (text := clean_word(query.get(word, "")))}
        if "field" not in self.asked:
            self.asked.pop("is", None)
            self.asked.pop("value", None)
        self.unclear = ""
        self.in_segment = self._segment()
        self.source = self._import()
        self.known_device = self._device()
        self.known_tag = self._tag()
        self.on_field = self._field()
        for word, known in KNOWN.items():
            if word in self.asked and self[word] not in known:
                self.unclear = f"“{self[word]}” is nothing to look for."
        if self["device"] not in ("", "none") and self.known_device is None:
            self.unclear = "The device that was asked for is gone."

    def __bool__(self) -> bool:
        return bool(self.asked)

    def __getitem__(self, word: str) -> str:
        """What stands there, empty where nothing does."""
        if word not in WORDS:
            raise KeyError(word)
        return self.asked.get(word, "")

    def _segment(self) -> Segment | None:
        if "segment" not in self.asked:
            return None
        segments = Segment.objects.for_workspace(self.workspace).select_related("workspace")
        uuid = uuid_or_nothing(self["segment"])
        segment = segments.filter(uuid=uuid).first() if uuid else None
        if segment is None:
            raise NotThere
        return segment

    def _import(self) -> ContactImport | None:
        if "import" not in self.asked:
            return None
        imports = ContactImport.objects.for_workspace(self.workspace)
        uuid = uuid_or_nothing(self["import"])
        source = imports.filter(uuid=uuid).first() if uuid else None
        if source is None:
            raise NotThere
        return source

    def _device(self) -> Device | None:
        devices = Device.objects.for_workspace(self.workspace)
        uuid = uuid_or_nothing(self["device"])
        return devices.filter(uuid=uuid).first() if uuid else None

    def _tag(self) -> Tag | None:
        tags = Tag.objects.for_workspace(self.workspace)
        return tags.filter(name=self["tag"]).first() if self["tag"] else None

    def _field(self) -> dict[str, Any] | None:
        """The condition on a custom field, where it makes sense."""
        if "field" not in self.asked:
            return None
        rule = {"what": f"field:{self['field']}", "is": self["is"] or "is_set", "value": self["value"]}
        try:
            check(self.workspace, {"match": "all", "rules": [rule]})
        except BadConditions as problem:
            self.unclear = f"{self['field']}: {problem}"
            return None
        return rule

    def contacts(self, most: int = FEW) -> ContactQuerySet:
        """Those of the workspace who pass every filter; of up to ``most`` whom an index finds, only these are asked."""
        contacts = Contact.objects.for_workspace(self.workspace)
        if self.unclear:
            return contacts.none()
        if "q" in self.asked:
            contacts = contacts.matching(self["q"], self.workspace, most)
        if self.source:
            contacts = contacts.filter(consent_import=self.source)
        if self["whatsapp"] in ("yes", "no"):
            contacts = on_whatsapp(contacts, self["whatsapp"] == "yes")
        elif self["whatsapp"] == "unknown":
            contacts = unchecked(contacts)
        if self["consent"] == "agreed":
            contacts = contacts.agreeing()
        elif self["consent"] == "opted-out":
            contacts = contacts.opted_out()
        if self["tag"]:
            contacts = contacts.tagged(self.known_tag.pk) if self.known_tag else contacts.none()
        if rules := self.rules()[self._quicker() :]:
            contacts = matching(self.workspace, {"match": "all", "rules": rules}, contacts, most)
        if self.in_segment:
            contacts = matching(self.workspace, self.in_segment.conditions, contacts, most)
        return contacts

    @property
    def in_order(self) -> bool:
        """Whether an index holds exactly those who pass, in the order of the list."""
        if not self.asked or self.unclear:
            return True
        return len(self.asked) == 1 and bool(self.known_tag or self.source or self["consent"] == "opted-out")

    def leads_to_few(self, most: int) -> bool:
        """Whether an index shows that no more than so many pass one of the filters."""
        every = Contact.objects.for_workspace(self.workspace)
        known = [every.filter(consent_import=self.source)] if self.source else []
        if self["consent"] == "opted-out":
            known.append(every.opted_out())
        if self.known_tag:
            known.append(every.tagged(self.known_tag.pk))
        replied = [rule for rule in self.rules() if (rule["what"], rule["is"]) == ("reply", "within")]
        known += [matching(self.workspace, {"rules": [rule]}) for rule in replied]
        return any(people.count_up_to(most + 1) <= most for people in known)

    def rules(self) -> list[dict[str, Any]]:
        """As conditions of a segment. First those that `contacts` asks in its own, quicker way."""
        found = []
        if self["tag"]:
            found.append({"what": "tag", "is": "has", "value": self["tag"]})
        if self["consent"] in CONSENT:
            found.append({"what": "consent", "is": "is", "value": self["consent"].replace("-", "_")})
        if self["whatsapp"] in WHATSAPP:
            found.append({"what": "whatsapp", "is": "is", "value": self["whatsapp"]})
        if self["status"] in ContactStatus:
            found.append({"what": "status", "is": "is", "value": self["status"]})
        if self["device"] == "none":
            found.append({"what": "device", "is": "is_empty", "value": ""})
        elif self.known_device:
            found.append({"what": "device", "is": "is", "value": str(self.known_device.uuid)})
        if self["reply"] in REPLIES:
            operator, days = "within", self["reply"]
            if days == "never":
                operator, days = "never", ""
            elif days.startswith("not-"):
                operator, days = "not_within", days.removeprefix("not-")
            found.append({"what": "reply", "is": operator, "value": days})
        if self.on_field:
            found.append(self.on_field)
        return found

    def _quicker(self) -> int:
        """How many of the rules `contacts` has asked already."""
        return sum((bool(self["tag"]), self["consent"] in CONSENT, self["whatsapp"] in WHATSAPP))

    def chips(self) -> list[Chip]:
        """Every filter that narrows the list, each to be removed by itself."""
        return [Chip(words, self._without(*drops)) for words, drops in self._said()]

    @property
    def query(self) -> str:
        """As an address asks for them."""
        return self._without()

    def _without(self, *drops: str) -> str:
        return urlencode({word: text for word, text in self.asked.items() if word not in drops})

    def _said(self) -> list[tuple[str, tuple[str, ...]]]:
        """(words, the words of the address it stands in) of each."""
        found: list[tuple[str, tuple[str, ...]]] = []
        if self["q"]:
            found.append((f"“{self['q']}”", ("q",)))
        if self["tag"]:
            found.append((f"Tag {self['tag']}", ("tag",)))
        if self["status"] in ContactStatus:
            found.append((ContactStatus(self["status"]).label, ("status",)))
        if self["consent"] in CONSENT:
            found.append((CONSENT[self["consent"]], ("consent",)))
        if self["whatsapp"] in WHATSAPP:
            found.append((WHATSAPP[self["whatsapp"]], ("whatsapp",)))
        if self["device"] == "none":
            found.append(("Knows no number of ours", ("device",)))
        elif self.known_device:
            found.append((f"Knows {self.known_device.name}", ("device",)))
        if self["reply"] in REPLIES:
            found.append((REPLIES[self["reply"]], ("reply",)))
        if self.on_field:
            found.append((in_words(self.workspace, self.on_field), ("field", "is", "value")))
        if self.in_segment:
            found.append((f"Segment {self.in_segment.name}", ("segment",)))
        if self.source:
            found.append((f"Came with {self.source.filename}", ("import",)))
        return found


def clean_word(text: object) -> str:
    return str(text).replace("\0", "").strip()[: 2 * SEARCH_LENGTH]


def uuid_or_nothing(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
