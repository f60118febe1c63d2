"""The forms of a campaign: its plan, and its text alone."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q
from django.utils import timezone

from accounts.models import User, Workspace
from campaigns.actions.drafts import Plan, Safety, no_caption
from campaigns.actions.media import choose_media, keep_file
from campaigns.compose import MAX_SOURCE, TextError, parse
from campaigns.media import ACCEPTED, LARGEST, MIB, MISSING, TYPES, UnusableFile
from campaigns.models import Assignment, Campaign, Failover, Media, Tag, UncertainPolicy
from campaigns.opt_out import problem_in
from campaigns.shown import duration
from devices.libmagic import magic
from devices.models import Device

LOCAL = "%Y-%m-%dT%H:%M"
FARTHEST = timedelta(days=3653)
LONGEST_H = 8_760
MOST_PEOPLE = 10_000_000


def clean_text(text: str) -> str:
    """Browsers send line ends as CR LF; a message has LF."""
    text = text.replace("\r\n", "\n").strip()
    try:
        parse(text)
        problem = problem_in(text)
    except TextError as error:
        raise ValidationError(str(error)) from error
    if problem:
        raise ValidationError(problem)
    return text


class SafetyForm(forms.Form):
    """What happens when something goes wrong."""

    failover = forms.ChoiceField(choices=Failover.choices, initial=Failover.WAIT)
    uncertain_policy = forms.ChoiceField(choices=UncertainPolicy.choices, initial=UncertainPolicy.HOLD)
    expire_after_h = forms.IntegerField(
        label="Hours until it expires",
        required=False,
        validators=[
            MinValueValidator(1, "At least one hour; empty: never."),
            MaxValueValidator(LONGEST_H, f"At most {LONGEST_H:,} hours, which is a year; empty: never."),
        ],
        error_messages={"invalid": "A whole number of hours; empty: never."},
    )

    @staticmethod
    def safety_of(campaign: Campaign) -> dict[str, Any]:
        return {name: getattr(campaign, name) for name in SafetyForm.base_fields}

    def safety(self) -> Safety:
        return Safety(**{name: self.cleaned_data[name] for name in SafetyForm.base_fields})

    @property
    def uncertain_after(self) -> str:
        return duration(settings.UNCERTAIN_AFTER_S)

    @property
    def safety_is_chosen(self) -> bool:
        """Something there is wrong or not as usual: show it unfolded."""
        fields = (self[name] for name in SafetyForm.base_fields)
        return any(field.errors or (field.value() or None) != field.field.initial for field in fields)


class FileForm(forms.Form):
    """A file for a message. An upload is kept at once, whatever else is wrong; `media_uuid` names it from then on.

    ``chosen`` is the file that the message has so far.
    """

    file = forms.FileField(required=False, allow_empty_file=True, max_length=1000)
    media_uuid = forms.UUIDField(required=False)

    def __init__(self, workspace: Workspace, by: User, *args: Any, chosen: Media | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace = workspace
        self.by = by
        self.chosen = None if self.is_bound else chosen

    @property
    def accept(self) -> str:
        """The endings that the browser offers at first; what counts is the content."""
        return ",".join(sorted({suffix for type in TYPES.values() for suffix in type.suffixes}))

    @property
    def hint(self) -> str:
        return MISSING if magic is None else f"{ACCEPTED} At most {LARGEST // MIB} MB."

    def clean_file(self) -> None:
        file: UploadedFile | None = self.cleaned_data["file"]
        if file is None:
            return
        try:
            self.chosen = keep_file(self.workspace, self.by, file.name or "", file.size or 0, file)
        except UnusableFile as problem:
            raise ValidationError(str(problem)) from None

    def clean_media_uuid(self) -> None:
        uuid = self.cleaned_data["media_uuid"]
        if self.chosen is None and uuid is not None:
            self.chosen = choose_media(self.workspace, uuid)
            if self.chosen is None:
                self.add_error("file", "The file that was chosen is gone. Choose it again.")


class MessageForm(FileForm):
    """What a message says: a text, or a file with or without a text."""

    text = forms.CharField(label="Message", required=False, max_length=MAX_SOURCE, strip=False)

    def clean_text(self) -> str:
        text = clean_text(self.cleaned_data["text"])
        if not text and self.chosen is None and "file" not in self.errors:
            raise ValidationError("Write what the message says, or choose a file.")
        if problem := no_caption(text, self.chosen):
            raise ValidationError(problem)
        return text


class RunningForm(MessageForm, SafetyForm):
    """What can still be changed after the start."""

    def __init__(self, by: User, *args: Any, campaign: Campaign, **kwargs: Any) -> None:
        kwargs["initial"] = {**message_of(campaign), **self.safety_of(campaign)}
        super().__init__(campaign.workspace, by, *args, chosen=campaign.content.media, **kwargs)
        self.campaign = campaign

    def clean_expire_after_h(self) -> int | None:
        hours, began = self.cleaned_data["expire_after_h"], self.campaign.launched_at
        if hours is not None and hours != self.campaign.expire_after_h and began is not None:
            gone = (timezone.now() - began).total_seconds()
            if hours * 3600 <= gone:
                raise ValidationError(f"It started {duration(gone)} ago: this time has passed.")
        return hours


class CampaignForm(MessageForm, SafetyForm):
    """One workspace's choices only: a foreign tag or device is not a valid choice."""

    name = forms.CharField(max_length=120, error_messages={"required": "Give the campaign a name."})
    audience = forms.ChoiceField(choices=[("tags", "People with a tag"), ("everyone", "Everyone")], initial="tags")
    tags = forms.ModelMultipleChoiceField(
        queryset=Tag.objects.none(), required=False, widget=forms.CheckboxSelectMultiple
    )
    devices: forms.ModelMultipleChoiceField = forms.ModelMultipleChoiceField(
        queryset=Device.objects.none(), required=False, widget=forms.CheckboxSelectMultiple
    )
    min_delay = forms.FloatField(
        label="Least gap on each device",
        required=False,
        validators=[
            MinValueValidator(0, "Seconds, 0 or more."),
            MaxValueValidator(86_400, "At most 86,400 seconds, which is a day."),
        ],
        error_messages={"invalid": "Seconds, as a number."},
    )
    assignment = forms.ChoiceField(choices=Assignment.choices, initial=Assignment.STICKY)
    device_cap = forms.IntegerField(
        label="Most people for each number",
        required=False,
        validators=[
            MinValueValidator(1, "At least one person; empty: no cap."),
            MaxValueValidator(MOST_PEOPLE, f"At most {MOST_PEOPLE:,} people; empty: no cap."),
        ],
        error_messages={"invalid": "A whole number of people; empty: no cap."},
    )
    when = forms.ChoiceField(choices=[("now", "When I press start"), ("at", "At a time")], initial="now")
    start_at = forms.CharField(required=False, max_length=32)

    def __init__(
        self, workspace: Workspace, by: User, *args: Any, campaign: Campaign | None = None, **kwargs: Any
    ) -> None:
        if campaign is not None:
            kwargs |= {"initial": self.initial_of(campaign), "chosen": campaign.content.media}
        super().__init__(workspace, by, *args, **kwargs)
        chosen = campaign.device_links.values_list("device_id", flat=True) if campaign else []
        self.tags_field.queryset = Tag.objects.for_workspace(workspace).order_by("name")
        self.devices_field.queryset = selectable_devices(workspace, list(chosen))

    @property
    def tags_field(self) -> forms.ModelMultipleChoiceField:
        return self.fields["tags"]  # type: ignore[return-value]

    @property
    def devices_field(self) -> forms.ModelMultipleChoiceField:
        return self.fields["devices"]  # type: ignore[return-value]

    @staticmethod
    def initial_of(campaign: Campaign) -> dict[str, Any]:
        zone = campaign.workspace.zone
        return {
            "name": campaign.name,
            **message_of(campaign),
            "audience": "everyone" if campaign.everyone else "tags",
            "tags": list(campaign.tag_links.values_list("tag_id", flat=True)),
            "devices": list(campaign.device_links.values_list("device_id", flat=True)),
            "min_delay": f"{campaign.min_delay:g}" if campaign.min_delay else None,
            "assignment": campaign.assignment,
            "device_cap": campaign.device_cap,
            **CampaignForm.safety_of(campaign),
            "when": "at" if campaign.start_at else "now",
            "start_at": f"{campaign.start_at.astimezone(zone):{LOCAL}}" if campaign.start_at else "",
        }

    def clean_min_delay(self) -> float:
        return round(self.cleaned_data["min_delay"] or 0, 3)

    def clean_start_at(self) -> datetime | None:
        if self.cleaned_data.get("when") != "at":
            return None
        at = in_zone(self.cleaned_data["start_at"], self.workspace.zone)
        if at <= timezone.now():
            now = timezone.now().astimezone(self.workspace.zone)
            raise ValidationError(f"This time has passed. In {self.workspace.timezone} it is {now:%-d %b %Y, %H:%M}.")
        if at - timezone.now() > FARTHEST:  # the year 9999 lies beyond what other zones can show
            raise ValidationError("Choose a time within the next ten years.")
        return at

    def plan(self) -> Plan:
        data = self.cleaned_data
        return Plan(
            name=data["name"],
            text=data["text"],
            media=self.chosen,
            everyone=data["audience"] == "everyone",
            tags=data["tags"],
            devices=data["devices"],
            start_at=data["start_at"],
            min_delay=data["min_delay"],
            assignment=data["assignment"],
            device_cap=data["device_cap"],
            safety=self.safety(),
        )


def message_of(campaign: Campaign) -> dict[str, Any]:
    content = campaign.content
    return {"text": content.text, "media_uuid": str(content.media.uuid) if content.media else ""}


def selectable_devices(workspace: Workspace, chosen: list[int]) -> Any:
    """Linked ones, and those the draft has already: an edit loses nothing."""
    devices = Device.objects.for_workspace(workspace)
    linked = devices.linked().values("pk")
    return (
        devices.filter(Q(pk__in=linked) | Q(pk__in=chosen))
        .with_shown_state()
        .select_related("workspace")
        .order_by("name")
    )


def in_zone(local: str, zone: zoneinfo.ZoneInfo) -> datetime:
    """The instant of a wall clock's ``2026-03-29T09:00``. Where clocks go back and it comes twice: the first."""
    try:
        naive = datetime.strptime(local.strip()[:16], LOCAL)
        at = naive.replace(tzinfo=zone)
        back = at.astimezone(UTC).astimezone(zone)
    except (ValueError, OverflowError):
        raise ValidationError("Choose a day and a time.") from None
    if back.replace(tzinfo=None) != naive:
        raise ValidationError(
            f"{naive:%H:%M} does not exist on {naive:%-d %b %Y} in {zone.key}: clocks go forward. "
            f"Choose {back:%H:%M} or another time."
        )
    return at
