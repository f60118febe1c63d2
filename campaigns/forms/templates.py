"""The form of a template: a message with a name."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.models import User, Workspace
from campaigns.actions.templates import NAME_LENGTH
from campaigns.forms.message import MessageForm, message_of
from campaigns.models import Template


class TemplateForm(MessageForm):
    name = forms.CharField(max_length=NAME_LENGTH, error_messages={"required": "Give the template a name."})

    def __init__(
        self, workspace: Workspace, by: User, *args: Any, template: Template | None = None, **kwargs: Any
    ) -> None:
        if template is not None:
            content = template.content
            kwargs |= {"initial": {"name": template.name, **message_of(content)}, "chosen": content.media}
        super().__init__(workspace, by, *args, **kwargs)

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())


class NameForm(forms.Form):
    name = forms.CharField(max_length=1000)
