"""The message in a form: its text, and its file."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile

from accounts.models import User, Workspace
from campaigns.actions.drafts import no_caption
from campaigns.actions.media import choose_media, keep_file
from campaigns.compose import MAX_SOURCE, Problem, TextError, parse, problem_of
from campaigns.media import ACCEPTED, LIMITS, MISSING, TYPES, UnusableFile
from campaigns.models import Content, Media
from campaigns.opt_out import problem_in
from devices.libmagic import magic


def clean_text(text: str) -> str:
    """Browsers send line ends as CR LF; a message has LF. What is wrong is told with its place in what was typed."""
    text = text.replace("\r\n", "\n")
    try:
        parse(text)
        problem = problem_in(text)
    except TextError as error:
        raise ValidationError(str(error)) from error
    if problem:
        raise ValidationError(problem)
    return text.strip()


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
        return MISSING if magic is None else f"{ACCEPTED} {LIMITS}"

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

    @property
    def problem(self) -> Problem | None:
        """Where the text cannot be understood, for the field to mark."""
        return problem_of(self["text"].value() or "") if self.is_bound and self.errors.get("text") else None


def message_of(content: Content) -> dict[str, Any]:
    return {"text": content.text, "media_uuid": str(content.media.uuid) if content.media else ""}
