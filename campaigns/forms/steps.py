"""The steps of writing a campaign, a form each. What is right is saved, whatever else is wrong: see `changes`."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q
from django.utils import timezone

from accounts.models import User, Workspace
from campaigns.actions.drafts import Changes
from campaigns.clocks import LOCAL, NoTime, instant, twice
from campaigns.forms.campaigns import ExpiryForm, FailureForm, VariantsForm, differs, message_of
from campaigns.models import Assignment, Campaign, Retarget, Segment, Tag
from campaigns.steps import AUDIENCE, DEVICES, MESSAGE, WHEN
from devices.models import Device
from devices.querysets import DeviceQuerySet

FARTHEST = timedelta(days=3653)
MOST_PEOPLE = 10_000_000
DAY_S = 86_400
EARLIER = 100  # campaigns that are offered as an audience


def whole(label: str, least: int, most: int, noun: str, empty: str) -> forms.IntegerField:
    """A number that may be left empty; ``noun`` is what it counts, ``empty`` what nothing means."""
    return forms.IntegerField(
        label=label,
        required=False,
        validators=[
            MinValueValidator(least, f"At least {least}; empty: {empty}."),
            MaxValueValidator(most, f"At most {most:,}; empty: {empty}."),
        ],
        error_messages={"invalid": f"A whole number of {noun}; empty: {empty}."},
    )


def several(queryset: Any) -> forms.ModelMultipleChoiceField:
    return forms.ModelMultipleChoiceField(queryset=queryset, required=False, widget=forms.CheckboxSelectMultiple)


class AudienceForm(forms.Form):
    """Who gets it. One workspace's choices only: a foreign tag, segment or campaign is not a valid one."""

    name = forms.CharField(max_length=120, error_messages={"required": "Give the campaign a name."})
    audience = forms.ChoiceField(
        choices=[("tags", "Some"), ("everyone", "Everyone"), ("earlier", "Recipients")], initial="tags"
    )
    tags = several(Tag.objects.none())
    segments = several(Segment.objects.none())
    exclude_tags = several(Tag.objects.none())
    exclude_segments = several(Segment.objects.none())
    earlier = forms.ModelChoiceField(
        queryset=Campaign.objects.none(),
        required=False,
        to_field_name="uuid",
        error_messages={"invalid_choice": "This campaign is gone. Choose another."},
    )
    retarget = forms.ChoiceField(choices=[("", "All its recipients"), *Retarget.choices], required=False)
    not_contacted_days = whole("Leave out whoever heard from you in the last … days", 1, 3_650, "days", "nobody")
    hold_out = whole("Percent held out", 1, 90, "percent", "nobody")

    def __init__(
        self, workspace: Workspace, by: User, *args: Any, campaign: Campaign | None = None, **kwargs: Any
    ) -> None:
        if campaign is not None:
            kwargs["initial"] = self.initial_of(campaign)
        super().__init__(*args, **kwargs)
        tags = Tag.objects.for_workspace(workspace).order_by("name")
        segments = Segment.objects.for_workspace(workspace).order_by("name")
        earlier = Campaign.objects.for_workspace(workspace).filter(launched_at__isnull=False).order_by("-launched_at")
        choices = {"tags": tags, "exclude_tags": tags, "segments": segments, "exclude_segments": segments}
        for name, queryset in {**choices, "earlier": earlier}.items():
            self.fields[name].queryset = queryset  # type: ignore[attr-defined]

    @staticmethod
    def initial_of(campaign: Campaign) -> dict[str, Any]:
        tags = list(campaign.tag_links.values_list("tag_id", "excluded"))
        segments = list(campaign.segment_links.values_list("segment_id", "excluded"))
        mode = "everyone" if campaign.everyone else "earlier" if campaign.retarget_of_id else "tags"
        return {
            "name": campaign.name,
            "audience": mode,
            "tags": [tag for tag, excluded in tags if not excluded],
            "exclude_tags": [tag for tag, excluded in tags if excluded],
            "segments": [segment for segment, excluded in segments if not excluded],
            "exclude_segments": [segment for segment, excluded in segments if excluded],
            "earlier": campaign.retarget_of.uuid if campaign.retarget_of else None,
            "retarget": campaign.retarget,
            "not_contacted_days": campaign.not_contacted_days,
            "hold_out": campaign.hold_out or None,
        }

    def clean(self) -> None:
        super().clean()
        data = self.cleaned_data
        if data.get("audience") == "earlier" and "earlier" in data and data["earlier"] is None:
            self.add_error("earlier", "Choose the campaign whose recipients you mean.")
        for chosen, left_out in (("tags", "exclude_tags"), ("segments", "exclude_segments")):
            both = set(data.get(chosen) or []) & set(data.get(left_out) or [])
            if both and data.get("audience") != "everyone":
                names = ", ".join(sorted(f"“{one}”" for one in both))
                self.add_error(left_out, f"{names} cannot be both chosen and left out.")
            elif both:
                self.cleaned_data[chosen] = [one for one in data[chosen] if one not in both]

    def changes(self) -> Changes:
        data = self.cleaned_data
        kept: Changes = {
            name: data[name] for name in ("name", "not_contacted_days", "tags", "segments") if name in data
        }
        if "hold_out" in data:
            kept["hold_out"] = data["hold_out"] or 0
        # A tag that moves from one side to the other may stand on one only: both are saved, or neither.
        for chosen, left_out in (("tags", "exclude_tags"), ("segments", "exclude_segments")):
            if chosen in data and left_out in data:
                kept[f"excluded_{chosen}"] = data[left_out]
            else:
                kept.pop(chosen, None)
        mode = data.get("audience")
        if mode == "earlier" and data.get("earlier"):
            kept |= {"everyone": False, "retarget_of": data["earlier"], "retarget": data.get("retarget", "")}
        elif mode in ("everyone", "tags"):
            kept |= {"everyone": mode == "everyone", "retarget_of": None, "retarget": ""}
        return kept

    @property
    def earlier_choices(self) -> list[Campaign]:
        """The newest, and the one that is chosen."""
        field: Any = self.fields["earlier"]
        newest = list(field.queryset[:EARLIER])
        chosen = str(self["earlier"].value() or "")
        if chosen and all(str(one.uuid) != chosen for one in newest):
            newest += [one for one in field.queryset if str(one.uuid) == chosen]
        return newest

    @property
    def exclusion_is_chosen(self) -> bool:
        """Somebody is left out, or something there is wrong: show it unfolded."""
        fields = ("exclude_tags", "exclude_segments", "not_contacted_days", "hold_out")
        return any(self[name].errors or self[name].value() for name in fields)


class MessageStepForm(VariantsForm):
    """What it says. ``by`` uploads the file."""

    def __init__(
        self, workspace: Workspace, by: User, *args: Any, campaign: Campaign | None = None, **kwargs: Any
    ) -> None:
        if campaign is not None:
            kwargs |= {"initial": message_of(campaign), "chosen": campaign.content.media}
        super().__init__(workspace, by, *args, **kwargs)

    def changes(self) -> Changes:
        changes: Changes = {}
        variant_texts = self.variant_texts()
        if variant_texts is not None:
            changes["variant_texts"] = variant_texts
        if "file" not in self.errors and (variant_texts is not None or self.chosen is not None):
            changes["media"] = self.chosen
        return changes


class DevicesForm(FailureForm):
    """Through which numbers, how fast, and when it stops by itself."""

    devices = several(Device.objects.none())
    min_delay = forms.FloatField(
        label="Least gap on each device",
        required=False,
        validators=[
            MinValueValidator(0, "Seconds, 0 or more."),
            MaxValueValidator(DAY_S, f"At most {DAY_S:,} seconds, which is a day."),
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
    canary = whole("People who get it first", 1, MOST_PEOPLE, "people", "everybody at once")
    stop_failures = whole("Percent that failed", 1, 100, "percent", "never")
    stop_opt_outs = whole("Percent that opted out", 1, 100, "percent", "never")

    PLAIN: ClassVar = (
        "min_delay", "assignment", "device_cap", "canary", "stop_failures", "stop_opt_outs", "failover",
        "uncertain_policy",
    )  # fmt: skip

    def __init__(
        self, workspace: Workspace, by: User, *args: Any, campaign: Campaign | None = None, **kwargs: Any
    ) -> None:
        chosen: list[int] = []
        if campaign is not None:
            chosen = list(campaign.device_links.values_list("device_id", flat=True))
            plain = {name: getattr(campaign, name) for name in self.PLAIN}
            gap = f"{campaign.min_delay:g}" if campaign.min_delay else None
            kwargs["initial"] = {**plain, "min_delay": gap, "devices": chosen}
        super().__init__(*args, **kwargs)
        self.fields["devices"].queryset = selectable_devices(workspace, chosen)  # type: ignore[attr-defined]

    def clean_min_delay(self) -> float:
        return round(self.cleaned_data["min_delay"] or 0, 3)

    def changes(self) -> Changes:
        return {name: self.cleaned_data[name] for name in ("devices", *self.PLAIN) if name in self.cleaned_data}

    @property
    def safety_is_chosen(self) -> bool:
        names = ("failover", "uncertain_policy", "stop_failures", "stop_opt_outs")
        return any(differs(self[name]) for name in names)


class WhenForm(ExpiryForm):
    """From when on, at which hours of each person's day, and until when."""

    when = forms.ChoiceField(choices=[("now", "When I press start"), ("at", "At a time")], initial="now")
    start_at = forms.CharField(required=False, max_length=32)
    fold = forms.TypedChoiceField(
        choices=[("0", "the first"), ("1", "the second")], required=False, coerce=int, empty_value=None
    )
    stagger = forms.FloatField(
        label="Minutes from device to device",
        required=False,
        validators=[MinValueValidator(0, "Minutes, 0 or more."), MaxValueValidator(1_440, "At most 1,440 minutes.")],
        error_messages={"invalid": "Minutes, as a number; empty: all at once."},
    )
    local_from = forms.TimeField(required=False, error_messages={"invalid": "A time of day, like 09:00."})
    local_to = forms.TimeField(required=False, error_messages={"invalid": "A time of day, like 18:00."})

    field_order = ("when", "fold", "start_at")

    def __init__(
        self, workspace: Workspace, by: User, *args: Any, campaign: Campaign | None = None, **kwargs: Any
    ) -> None:
        if campaign is not None:
            kwargs["initial"] = self.initial_of(campaign)
        super().__init__(*args, **kwargs)
        self.workspace = workspace

    @staticmethod
    def initial_of(campaign: Campaign) -> dict[str, Any]:
        at = campaign.start_at.astimezone(campaign.workspace.zone) if campaign.start_at else None
        return {
            "when": "at" if at else "now",
            "start_at": f"{at:{LOCAL}}" if at else "",
            "fold": str(at.fold) if at else "",
            "stagger": f"{campaign.stagger_s / 60:g}" if campaign.stagger_s else None,
            "local_from": f"{campaign.local_from:%H:%M}" if campaign.local_from else "",
            "local_to": f"{campaign.local_to:%H:%M}" if campaign.local_to else "",
            "expire_after_h": campaign.expire_after_h,
        }

    def clean_start_at(self) -> datetime | None:
        if self.cleaned_data.get("when") != "at":
            return None
        try:
            at = instant(self.cleaned_data["start_at"], self.workspace.zone, self.cleaned_data.get("fold"))
        except NoTime as problem:
            raise ValidationError(str(problem)) from None
        if at <= timezone.now():
            now = timezone.now().astimezone(self.workspace.zone)
            raise ValidationError(f"This time has passed. In {self.workspace.timezone} it is {now:%-d %b %Y, %H:%M}.")
        if at - timezone.now() > FARTHEST:  # the year 9999 lies beyond what other zones can show
            raise ValidationError("Choose a time within the next ten years.")
        return at

    def clean(self) -> None:
        super().clean()
        data = self.cleaned_data
        if "local_from" in data and "local_to" in data:
            begin, end = data["local_from"], data["local_to"]
            if (begin is None) != (end is None):
                self.add_error("local_to" if end is None else "local_from", "Choose both ends of the hours, or none.")
            elif begin is not None and begin == end:
                self.add_error("local_to", "These hours have no length. Choose another end.")

    def changes(self) -> Changes:
        data = self.cleaned_data
        kept: Changes = {name: data[name] for name in ("start_at", "expire_after_h") if name in data}
        if "stagger" in data:
            kept["stagger_s"] = round(60 * (data["stagger"] or 0))
        if "local_from" in data and "local_to" in data:
            kept |= {"local_from": data["local_from"], "local_to": data["local_to"]}
        return kept

    @property
    def twice(self) -> list[tuple[str, str, bool]]:
        """Which of two instants is meant, where clocks go back: (value, words, chosen)."""
        chosen = str(self["fold"].value() or "") if self["fold"].value() != 0 else "0"
        found = twice(str(self["start_at"].value() or ""), self.workspace.zone)
        return [(str(fold), words, str(fold) == chosen) for fold, words in found]


StepForm = AudienceForm | MessageStepForm | DevicesForm | WhenForm
FORMS: dict[str, type[StepForm]] = {
    AUDIENCE: AudienceForm,
    MESSAGE: MessageStepForm,
    DEVICES: DevicesForm,
    WHEN: WhenForm,
}


def selectable_devices(workspace: Workspace, chosen: list[int]) -> DeviceQuerySet:
    """Linked ones, and those the draft has already: an edit loses nothing."""
    devices = Device.objects.for_workspace(workspace)
    linked = devices.linked().values("pk")
    found: DeviceQuerySet = (
        devices.filter(Q(pk__in=linked) | Q(pk__in=chosen))
        .with_shown_state()
        .select_related("workspace")
        .order_by("name")
    )
    return found


def morning_of(day: date, workspace: Workspace) -> datetime | None:
    """Nine o'clock on that day, or the next full hour of it; None: the day is over, or too far off."""
    now = timezone.now().astimezone(workspace.zone)
    at = datetime.combine(day, time(9), workspace.zone)
    if at <= now:
        at = (now + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    return at if at.date() == day and at - now <= FARTHEST else None
