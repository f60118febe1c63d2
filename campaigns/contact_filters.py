"""The filters of the list of contacts: as they stand in an address, in words, and as a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.models import Workspace
from campaigns.models import Contact, ContactImport, ContactStatus, Segment, Tag
from campaigns.numbers import on_whatsapp, unchecked
from campaigns.querysets.contacts import ContactQuerySet
from campaigns.segments import BadConditions, check, in_words, matching, members
from devices.models import Device

SEARCH_LENGTH = 100
# Every word of the address that narrows the list. The last three belong together.
WORDS = ("q", "tag", "status", "consent", "whatsapp", "device", "reply", "segment", "import", "field", "is", "value")
REPLIES = {
    "7": "in the last 7 days",
    "30": "in the last 30 days",
    "90": "in the last 90 days",
    "not-90": "not in the last 90 days",
    "never": "never",
}
CONSENT = {"agreed": "Agreed", "opted-out": "Opted out"}
WHATSAPP = {"yes": "On WhatsApp", "no": "Not on WhatsApp", "unknown": "Nobody knows whether on WhatsApp"}


class NotThere(Exception):
    """A segment or an import that this workspace does not have."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter in words, and the words of the address that go when it is removed."""

    words: str
    drops: tuple[str, ...]


class Filters:
    """Made from an address; what makes no sense there narrows nothing. Raises NotThere.

    ``asked``: the words that count, to be kept and to be asked again later.
    """

    def __init__(self, workspace: Workspace, query: Mapping[str, Any]) -> None:
        self.workspace = workspace
        self.asked = {word: text for word in WORDS if (text := clean_word(query.get(word, "")))}
        self.segment = self._segment()
        self.source = self._import()
        self.device = self._device()
        self.field = self._field()

    def __bool__(self) -> bool:
        return bool(self.asked)

    def __getitem__(self, word: str) -> str:
        """For templates: what stands there, empty where nothing does."""
        return self.asked.get(word, "")

    def _segment(self) -> Segment | None:
        if "segment" not in self.asked:
            return None
        segments = Segment.objects.for_workspace(self.workspace).select_related("workspace")
        segment = segments.filter(uuid=uuid_or_nothing(self["segment"])).first()
        if segment is None:
            raise NotThere
        return segment

    def _import(self) -> ContactImport | None:
        if "import" not in self.asked:
            return None
        imports = ContactImport.objects.for_workspace(self.workspace)
        source = imports.filter(uuid=uuid_or_nothing(self["import"])).first()
        if source is None:
            raise NotThere
        return source

    def _device(self) -> Device | None:
        devices = Device.objects.for_workspace(self.workspace)
        uuid = uuid_or_nothing(self["device"])
        return devices.filter(uuid=uuid).first() if uuid else None

    def _field(self) -> dict[str, Any] | None:
        """The condition on a custom field, where it makes sense."""
        if "field" not in self.asked:
            return None
        rule = {"what": f"field:{self['field']}", "is": self["is"] or "is_set", "value": self["value"]}
        try:
            check(self.workspace, {"match": "all", "rules": [rule]})
        except BadConditions:
            return None
        return rule

    def contacts(self, contacts: ContactQuerySet | None = None) -> ContactQuerySet:
        """Those of the workspace who pass every filter."""
        contacts = Contact.objects.for_workspace(self.workspace) if contacts is None else contacts
        if "q" in self.asked:
            contacts = contacts.matching(self["q"], self.workspace.default_country)
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
            tag = Tag.objects.for_workspace(self.workspace).filter(name=self["tag"]).first()
            contacts = contacts.tagged(tag.pk) if tag else contacts.none()
        if rules := self.rules()[self._quicker() :]:
            contacts = matching(self.workspace, {"match": "all", "rules": rules}, contacts)
        if self.segment:
            contacts = contacts.filter(pk__in=members(self.segment).values("pk"))
        return contacts

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
        elif self.device:
            found.append({"what": "device", "is": "is", "value": str(self.device.uuid)})
        if self["reply"] in REPLIES:
            operator, days = "within", self["reply"]
            if days == "never":
                operator, days = "never", ""
            elif days.startswith("not-"):
                operator, days = "not_within", days.removeprefix("not-")
            found.append({"what": "reply", "is": operator, "value": days})
        if self.field:
            found.append(self.field)
        return found

    def _quicker(self) -> int:
        """How many of the rules `contacts` has asked already."""
        return sum((bool(self["tag"]), self["consent"] in CONSENT, self["whatsapp"] in WHATSAPP))

    def chips(self) -> list[Chip]:
        """Every filter that narrows the list, each to be removed by itself."""
        found = []
        if self["q"]:
            found.append(Chip(f"“{self['q']}”", ("q",)))
        if self["tag"]:
            found.append(Chip(f"Tag {self['tag']}", ("tag",)))
        if self["status"] in ContactStatus:
            found.append(Chip(ContactStatus(self["status"]).label, ("status",)))
        if self["consent"] in CONSENT:
            found.append(Chip(CONSENT[self["consent"]], ("consent",)))
        if self["whatsapp"] in WHATSAPP:
            found.append(Chip(WHATSAPP[self["whatsapp"]], ("whatsapp",)))
        if self["device"] == "none":
            found.append(Chip("Knows no number of ours", ("device",)))
        elif self.device:
            found.append(Chip(f"Knows {self.device.name}", ("device",)))
        if self["reply"] in REPLIES:
            found.append(Chip(f"Replied {REPLIES[self['reply']]}", ("reply",)))
        if self.field:
            found.append(Chip(in_words(self.workspace, self.field), ("field", "is", "value")))
        if self.segment:
            found.append(Chip(f"Segment {self.segment.name}", ("segment",)))
        if self.source:
            found.append(Chip(f"Came with {self.source.filename}", ("import",)))
        return found


def clean_word(text: object) -> str:
    return str(text).replace("\0", "").strip()[: 2 * SEARCH_LENGTH]


def uuid_or_nothing(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
