"""The forms of a campaign: its plan, and what can be changed after the start."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q
from django.utils import timezone

from accounts.models import User, Workspace
from campaigns.actions.drafts import Plan, Safety
from campaigns.forms.message import MessageForm, message_of
from campaigns.models import Assignment, Campaign, Failover, Tag, UncertainPolicy
from campaigns.shown import duration
from devices.models import Device

LOCAL = "%Y-%m-%dT%H:%M"
FARTHEST = timedelta(days=3653)
LONGEST_H = 8_760
MOST_PEOPLE = 10_000_000


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


class RunningForm(MessageForm, SafetyForm):
    """What can still be changed after the start."""

    def __init__(self, by: User, *args: Any, campaign: Campaign, **kwargs: Any) -> None:
        kwargs["initial"] = {**message_of(campaign.content), **self.safety_of(campaign)}
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
            **message_of(campaign.content),
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
