"""The forms for editing a contact, changing many at once, and naming tags and fields."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts.models import Workspace
from accounts.places import timezones
from campaigns.fields import Field, clean_value, fields_of
from campaigns.forms.contacts import clean_tags
from campaigns.imports.mapping import FIELD_LENGTH, NAME_LENGTH, TAG_LENGTH, clean, field_name
from campaigns.models import ON_PEOPLE, Contact, ContactStatus, Deed, FieldKind, Tag
from devices.models import Device

YES_OR_NO = [("", "—"), ("yes", "Yes"), ("no", "No")]
INPUTS = {FieldKind.NUMBER: {"inputmode": "decimal"}, FieldKind.DATE: {"placeholder": "2026-11-27"}}


def known_devices(workspace: Workspace) -> list[tuple[str, str]]:
    """(UUID, name) of the devices a person may know."""
    devices = Device.objects.for_workspace(workspace).filter(phone__isnull=False).order_by("name", "pk")
    return [(str(device.uuid), f"{device.name} ({device.phone})") for device in devices]


def value_input(kind: str, label: str = "", value: str = "") -> forms.Field:
    """For a value of this kind. A list of yes and no keeps what stands there and is neither."""
    if kind == FieldKind.BOOLEAN:
        kept = [] if value in ("", "yes", "no") else [(value, value)]
        return forms.ChoiceField(label=label, choices=[*YES_OR_NO, *kept], required=False, widget=forms.Select)
    attrs = {"class": "form-control", **INPUTS.get(FieldKind(kind), {})}
    return forms.CharField(
        label=label, max_length=FIELD_LENGTH, required=False, strip=False, widget=forms.TextInput(attrs=attrs)
    )


class EditForm(forms.Form):
    """A contact's own values; ``values()`` are its custom fields by name. What is not typed anew stays as it was."""

    name = forms.CharField(max_length=NAME_LENGTH, required=False)
    status = forms.ChoiceField(choices=ContactStatus.choices)
    tags = forms.CharField(max_length=5_000, required=False)
    device = forms.ChoiceField(label="Number they know", required=False)
    timezone = forms.ChoiceField(label="Time zone", required=False)
    new_field = forms.CharField(label="Another field", max_length=60, required=False)
    new_value = forms.CharField(label="Its value", max_length=FIELD_LENGTH, required=False)

    def __init__(self, *args: Any, contact: Contact, **kwargs: Any) -> None:
        tags = list(contact.tag_links.order_by("tag__name").values_list("tag__name", flat=True))
        self.custom = known_fields(contact)
        current = {key_of(field): str(contact.fields.get(field.name, "")) for field in self.custom}
        kwargs["initial"] = {
            "name": contact.name,
            "status": contact.status,
            "tags": ", ".join(tags),
            "device": str(contact.device.uuid) if contact.device else "",
            "timezone": contact.timezone,
            **current,
        }
        super().__init__(*args, **kwargs)
        self.contact = contact
        devices = known_devices(contact.workspace)
        if contact.device and str(contact.device.uuid) not in dict(devices):
            devices.append((str(contact.device.uuid), contact.device.name))
        self._offer("device", [("", "None yet"), *devices])
        workspace_zone = f"The workspace's ({contact.workspace.timezone})"
        zones = timezones()
        if contact.timezone and contact.timezone not in dict(zones):
            zones = [*zones, (contact.timezone, contact.timezone)]
        self._offer("timezone", [("", workspace_zone), *zones])
        for field in self.custom:
            self.fields[key_of(field)] = value_input(field.kind, field.name, current[key_of(field)])

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def on_page(self) -> list[tuple[Field, forms.BoundField]]:
        return [(field, self[key_of(field)]) for field in self.custom]

    def clean_name(self) -> str:
        return " ".join(clean(self.cleaned_data["name"]).split())

    def clean_tags(self) -> list[str]:
        return clean_tags(self.cleaned_data["tags"])

    def clean_new_field(self) -> str:
        typed = self.cleaned_data["new_field"]
        name = field_name(typed)
        if typed and not name:
            raise ValidationError("Give the field a name with letters or digits.")
        return name

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for field in self.custom:
            key = key_of(field)
            if key in data and data[key] != self.initial[key]:
                try:
                    data[key] = clean_value(field.kind, data[key])
                except ValueError as problem:
                    self.add_error(key, str(problem))
        if data.get("new_value") and not data.get("new_field") and "new_field" not in self.errors:
            self.add_error("new_field", "Say which field this is the value of.")
        return data

    def device_chosen(self) -> Device | None:
        uuid = self.cleaned_data["device"]
        return Device.objects.for_workspace(self.contact.workspace).filter(uuid=uuid).first() if uuid else None

    def values(self) -> dict[str, str]:
        sent = [field for field in self.custom if key_of(field) in self.data]
        found = {field.name: self.cleaned_data[key_of(field)] for field in sent}
        if self.cleaned_data["new_field"] and self.cleaned_data["new_value"]:
            found[self.cleaned_data["new_field"]] = clean(self.cleaned_data["new_value"])
        return found


def key_of(field: Field) -> str:
    """By its name: between page and answer another field may have come, and places in a list would shift."""
    return f"field:{field.name}"


def known_fields(contact: Contact) -> list[Field]:
    """Those of the workspace, and what only this person has."""
    fields = fields_of(contact.workspace)
    others = set(contact.fields) - {field.name for field in fields}
    return [*fields, *(Field(name, FieldKind.TEXT) for name in sorted(others))]


class ChangeForm(forms.Form):
    """What is done to many contacts: ``name`` and ``value`` as `start_change` takes them."""

    deed = forms.ChoiceField(choices=ON_PEOPLE)
    name = forms.CharField(max_length=60, required=False)
    value = forms.CharField(max_length=FIELD_LENGTH, required=False, strip=False)

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace = workspace

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        try:
            match data.get("deed"):
                case Deed.TAG:
                    data["name"] = one_tag(data.get("name", ""))
                case Deed.UNTAG:
                    if not Tag.objects.for_workspace(self.workspace).filter(name=data.get("name")).exists():
                        self.add_error("name", "Choose one of the tags.")
                case Deed.FIELD:
                    self._clean_field(data)
                case Deed.STATUS:
                    if data.get("value") not in ContactStatus:
                        self.add_error("value", "Choose a status.")
                case Deed.DEVICE:
                    if data.get("value") and data["value"] not in dict(known_devices(self.workspace)):
                        self.add_error("value", "Choose one of your devices.")
        except ValidationError as problem:
            self.add_error("name", problem)
        return data

    def _clean_field(self, data: dict[str, Any]) -> None:
        kinds = {field.name: field.kind for field in fields_of(self.workspace)}
        name = data.get("name", "")
        if name not in kinds:
            name = data["name"] = field_name(name)
        if not name:
            self.add_error("name", "Choose a field.")
            return
        try:
            data["value"] = clean_value(kinds.get(name, FieldKind.TEXT), data.get("value", ""))
        except ValueError as problem:
            self.add_error("value", str(problem))


def one_tag(text: str) -> str:
    """Raises ValidationError."""
    tags = clean_tags(text)
    if len(tags) != 1:
        raise ValidationError("Write one tag, without commas." if tags else "Write a tag.")
    return tags[0]


class TagForm(forms.Form):
    name = forms.CharField(max_length=TAG_LENGTH, error_messages={"required": "Write a name."})

    def clean_name(self) -> str:
        return one_tag(self.cleaned_data["name"])


class MergeForm(forms.Form):
    """Which tag another one is joined to."""

    into = forms.CharField(max_length=TAG_LENGTH, error_messages={"required": "Write the tag that stays."})

    def __init__(self, *args: Any, source: Tag, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.source = source

    def clean_into(self) -> Tag:
        name = one_tag(self.cleaned_data["into"])
        if name == self.source.name:
            raise ValidationError("This is the tag itself. Write another one.")
        tags = Tag.objects.for_workspace(self.source.workspace).select_related("workspace")
        if (tag := tags.filter(name=name).first()) is None:
            raise ValidationError(f"There is no tag “{name}”. To give this one another name, rename it.")
        return tag


class FieldForm(forms.Form):
    name = forms.CharField(max_length=60, error_messages={"required": "Write a name."})
    kind = forms.ChoiceField(choices=FieldKind.choices)

    def __init__(self, *args: Any, known: set[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known = known

    def clean_name(self) -> str:
        """A new one as an import would call it, so that both mean the same."""
        typed = self.cleaned_data["name"]
        name = typed if typed in self.known else field_name(typed)
        if not name:
            raise ValidationError("Give the field a name with letters or digits.")
        return name
