"""What people fill in about themselves and their workspace."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import AddEmailForm, LoginForm, SignupForm
from django import forms
from django.contrib.auth import password_validation
from django.core.validators import MaxLengthValidator
from django.db import transaction
from django.http import HttpRequest

from accounts.actions import create_workspace
from accounts.models import User, Workspace
from accounts.models.workspace import validate_timezone
from accounts.places import countries, timezones

USUAL_DAYS = 7
EMAIL_LENGTH = User._meta.get_field("email").max_length


class WorkspaceFields(forms.Form):
    """The three things a new workspace is asked for."""

    workspace_name = forms.CharField(
        label="Workspace", max_length=80, help_text="The name of your business, or of the team."
    )
    timezone = forms.ChoiceField(
        label="Time zone",
        choices=timezones,
        initial="UTC",
        validators=[validate_timezone],
        widget=forms.Select(attrs={"data-guess-timezone": True}),
    )
    default_country = forms.ChoiceField(
        label="Country",
        choices=countries,
        initial="MY",
        help_text="Numbers written without a country code belong to this country.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.is_bound:  # the browser's guess never overwrites what was chosen
            self.fields["timezone"].widget.attrs = {}

    def workspace_fields(self) -> dict[str, str]:
        data = self.cleaned_data
        return {
            "name": data["workspace_name"],
            "timezone": data["timezone"],
            "default_country": data["default_country"],
        }


class SignInForm(LoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "E-mail"
        self.fields["login"].widget.attrs |= {"placeholder": "", "autofocus": True}
        self.fields["password"].widget.attrs["placeholder"] = ""
        self.fields["password"].help_text = ""
        self.fields["remember"].label = "Keep me signed in"


class SignUpForm(SignupForm, WorkspaceFields):
    field_order = ("email", "password1", "workspace_name", "timezone", "default_country")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # allauth would cut a longer one off, and nobody could sign in with what is left.
        self.fields["email"].validators.append(MaxLengthValidator(EMAIL_LENGTH))
        self.fields["email"].label = "E-mail"
        self.fields["email"].widget.attrs |= {"placeholder": "", "autofocus": True}
        self.fields["password1"].widget.attrs["placeholder"] = ""
        self.fields["password1"].help_text = "At least 12 characters."

    @transaction.atomic
    def save(self, request: HttpRequest) -> User:
        user: User = super().save(request)
        create_workspace(user, **self.workspace_fields())
        return user


class AddAddressForm(AddEmailForm):
    """allauth lets an unverified address become the primary one: one that doesn't fit or is taken would break there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].validators.append(MaxLengthValidator(EMAIL_LENGTH))

    def clean_email(self) -> str:
        email: str = super().clean_email()
        if User.objects.filter(email=email).exclude(pk=self.user.pk).exists():
            raise forms.ValidationError("Another account has this address.")
        return email


class FirstAccountForm(WorkspaceFields):
    """The form behind the one-time link."""

    email = forms.EmailField(
        label="E-mail", max_length=EMAIL_LENGTH, widget=forms.EmailInput(attrs={"autofocus": True})
    )
    password = forms.CharField(
        label="Password",
        help_text="At least 12 characters.",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    field_order = ("email", "password", "workspace_name", "timezone", "default_country")

    def clean_email(self) -> str:
        email = self.cleaned_data["email"].lower()
        if User.objects.filter(email=email).exists():
            raise forms.ValidationError("There is an account with this address already. Choose another.")
        return email

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if password := data.get("password"):
            try:
                password_validation.validate_password(password, User(email=data.get("email", "")))
            except forms.ValidationError as problem:
                self.add_error("password", problem)
        return data


def clock() -> forms.TimeInput:
    return forms.TimeInput(format="%H:%M", attrs={"type": "time"})


class WorkspaceForm(forms.ModelForm):
    timezone = forms.ChoiceField(label="Time zone", choices=timezones)
    default_country = forms.ChoiceField(
        label="Country",
        choices=countries,
        help_text="Numbers written without a country code belong to this country.",
    )

    quiet_from = forms.TimeField(
        required=False,
        label="Quiet from",
        widget=clock(),
        help_text="From then on no campaign writes to anybody, by each person's own clock. Empty: at any hour.",
    )
    quiet_to = forms.TimeField(
        required=False, label="Quiet until", widget=clock(), help_text="What waited leaves then. May lie past midnight."
    )
    frequency_cap = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1_000,
        label="Most messages a person gets",
        help_text="Of all campaigns together; whoever had so many is skipped. Tests and answers do not count. "
        "Empty: any number.",
    )
    frequency_days = forms.IntegerField(
        required=False, min_value=1, max_value=365, label="Within so many days", help_text="Empty: 7."
    )

    class Meta:
        model = Workspace
        fields = (
            "name",
            "timezone",
            "default_country",
            "quiet_from",
            "quiet_to",
            "frequency_cap",
            "frequency_days",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone = self.instance.timezone
        if zone not in dict(timezones()):  # set in the admin: an odd zone is kept until another is chosen
            self.fields["timezone"].choices = [(zone, zone), *timezones()]  # type: ignore[attr-defined]

    def clean_frequency_days(self) -> int:
        return self.cleaned_data["frequency_days"] or USUAL_DAYS

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        begin, end = data.get("quiet_from"), data.get("quiet_to")
        for name, given, other in (("quiet_from", begin, end), ("quiet_to", end, begin)):
            if given is None and other is not None and name not in self.errors:
                self.add_error(name, "Give both times, or neither.")
        if begin is not None and begin == end:
            self.add_error("quiet_to", "Choose another end than the beginning: else nothing would ever leave.")
        return data


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name")
