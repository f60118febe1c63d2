"""The admin of campaigns, for staff: to look things up. Message rows and counters belong to the engine."""

from __future__ import annotations

from functools import cached_property

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.audit import record
from accounts.masking import mask_phones
from accounts.phones import BadPhone, to_e164
from campaigns.models import (
    Attempt,
    Campaign,
    CampaignDevice,
    CampaignSegment,
    CampaignTag,
    CheckRun,
    ConsentEntry,
    Contact,
    ContactChange,
    ContactImport,
    ContactMove,
    ContactTag,
    Content,
    CustomField,
    DayMeter,
    Erasure,
    GlobalSuppression,
    HourMeter,
    ImportChunk,
    ImportReject,
    ImportRow,
    Media,
    Message,
    MeterTotal,
    MinuteMeter,
    NumberCheck,
    Reply,
    Segment,
    Stream,
    Suppression,
    Tag,
    Template,
    Uncertain,
    Variant,
    WireId,
)

COUNTED = 10_000


class BoundedPaginator(Paginator):
    """Never counts a million rows: the planner's estimate for a whole table, otherwise up to `COUNTED`."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet = self.object_list  # type: ignore[assignment]
        if not rows.query.where:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [rows.model._meta.db_table]
                )
                estimate = int(cursor.fetchone()[0])
            if estimate > COUNTED:
                return estimate
        return rows.order_by()[:COUNTED].count()


class LargeAdmin(admin.ModelAdmin):
    """A table that may have millions of rows: newest first, never counted whole, references by id."""

    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    ordering = ("-pk",)


class LookOnly(LargeAdmin):
    """Rows that statements keep consistent with counters and evidence: a hand edit would break both."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Contact)
class ContactAdmin(LargeAdmin):
    list_display = ("phone", "name", "workspace", "status", "consent_source", "opted_out_at", "created_at")
    list_filter = ("status", ("opted_out_at", admin.EmptyFieldListFilter))
    list_select_related = ("workspace",)
    search_fields = ("=phone", "name")
    search_help_text = "A number as +60123456789, or a part of a name."
    raw_id_fields = ("workspace", "consent_import")
    readonly_fields = ("uuid", "created_at", "updated_at")


@admin.register(Tag)
class TagAdmin(admin.ModelAdmin):
    list_display = ("name", "workspace", "created_at")
    list_select_related = ("workspace",)
    search_fields = ("name", "workspace__name")
    raw_id_fields = ("workspace",)


@admin.register(ContactTag)
class ContactTagAdmin(LargeAdmin):
    list_display = ("pk", "contact", "tag", "workspace")
    list_select_related = ("contact", "tag", "workspace")
    search_fields = ("=contact__phone", "=tag__name")
    raw_id_fields = ("workspace", "contact", "tag")


@admin.register(ContactImport)
class ContactImportAdmin(LookOnly):
    list_display = ("filename", "workspace", "state", "rows_done", "accepted", "rejected", "created_by", "created_at")
    list_filter = ("state",)
    list_select_related = ("workspace", "created_by")
    search_fields = ("filename", "workspace__name", "=uuid")


@admin.register(ImportReject)
class ImportRejectAdmin(LookOnly):
    list_display = ("contact_import", "line", "reason", "workspace")
    list_select_related = ("contact_import", "workspace")
    search_fields = ("reason", "=contact_import__uuid")


@admin.register(ImportRow)
class ImportRowAdmin(LookOnly):
    list_display = ("pk", "contact_import", "phone", "name", "workspace")
    list_select_related = ("contact_import", "workspace")
    search_fields = ("=phone", "=contact_import__uuid")


@admin.register(MinuteMeter, HourMeter, DayMeter)
class MeterAdmin(LookOnly):
    list_display = ("start", "device", "workspace", "sent", "failed", "delivered", "replied")
    list_select_related = ("device", "workspace")
    search_fields = ("=device__phone", "=device__uuid")


@admin.register(MeterTotal)
class MeterTotalAdmin(LookOnly):
    list_display = ("device", "workspace", "sent", "failed", "delivered", "replied")
    list_select_related = ("device", "workspace")
    search_fields = ("=device__phone", "=device__uuid")


@admin.register(ImportChunk)
class ImportChunkAdmin(LookOnly):
    list_display = ("contact_import", "number", "workspace")
    list_select_related = ("contact_import", "workspace")
    search_fields = ("=contact_import__uuid",)
    exclude = ("data",)

    def get_queryset(self, request: HttpRequest) -> object:  # type: ignore[override]
        return super().get_queryset(request).defer("data")


@admin.register(Content)
class ContentAdmin(LookOnly):
    list_display = ("pk", "beginning", "workspace", "created_by", "created_at")
    list_select_related = ("workspace", "created_by")
    search_fields = ("text", "workspace__name")

    @admin.display(description="text")
    def beginning(self, content: Content) -> str:
        return content.text[:80]


@admin.register(Media)
class MediaAdmin(LookOnly):
    list_display = ("name", "kind", "mime", "size", "workspace", "created_by", "created_at", "chosen_at")
    list_filter = ("kind",)
    list_select_related = ("workspace", "created_by")
    search_fields = ("name", "workspace__name", "=sha256")
    exclude = ("data",)


@admin.register(Campaign)
class CampaignAdmin(LookOnly):
    list_display = ("name", "workspace", "state", "recipients", "start_at", "launched_at", "finished_at", "created_by")
    list_filter = ("state",)
    list_select_related = ("workspace", "created_by")
    search_fields = ("name", "workspace__name", "=uuid")


@admin.register(CampaignTag)
class CampaignTagAdmin(LookOnly):
    list_display = ("campaign", "tag", "workspace")
    list_select_related = ("campaign", "tag", "workspace")
    search_fields = ("campaign__name", "=tag__name")


@admin.register(CampaignDevice)
class CampaignDeviceAdmin(LookOnly):
    list_display = ("campaign", "device", "workspace")
    list_select_related = ("campaign", "device", "workspace")
    search_fields = ("campaign__name", "device__name", "=device__phone")


@admin.register(Stream)
class StreamAdmin(LookOnly):
    list_display = (
        "pk", "campaign", "device", "lane", "running", "next_due", "pending", "sending", "waiting", "sent", "delivered",
        "read", "dead", "uncertain", "skipped", "replied",
    )  # fmt: skip
    list_filter = ("lane", "running")
    list_select_related = ("campaign", "device")
    search_fields = ("campaign__name", "=campaign__uuid", "device__name", "=device__phone")


@admin.register(Message)
class MessageAdmin(LookOnly):
    list_display = ("pk", "phone", "state", "reason", "campaign", "workspace", "attempts", "due_at", "sent_at")
    list_filter = ("state",)
    list_select_related = ("campaign", "workspace")
    search_fields = ("=phone", "=wire_id", "=campaign__uuid")
    search_help_text = "A number as +60123456789, WhatsApp's id, or a campaign's UUID."


@admin.register(Attempt)
class AttemptAdmin(LookOnly):
    list_display = ("pk", "message_id", "number", "started_at", "outcome", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("=message__id",)


@admin.register(WireId)
class WireIdAdmin(LookOnly):
    list_display = ("wire_id", "device_id", "message_id", "sent_at", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("=wire_id", "=message_id")


@admin.register(Uncertain)
class UncertainAdmin(LookOnly):
    list_display = ("message_id", "device_id", "phone", "began_at", "since", "asked_at", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("=phone", "=message__id")


@admin.register(Suppression)
class SuppressionAdmin(LookOnly):
    list_display = ("phone", "source", "reason", "created_at", "workspace")
    list_filter = ("source",)
    list_select_related = ("workspace",)
    search_fields = ("=phone", "workspace__name")


class GlobalSuppressionForm(forms.ModelForm):
    def clean_phone(self) -> str:
        phone: str = self.cleaned_data["phone"]
        if not phone.strip().startswith("+"):  # staff belong to no country
            raise ValidationError("Write it with + and the country code.")
        try:
            return to_e164(phone, "ZZ")
        except BadPhone as problem:
            raise ValidationError(f"{problem}.") from None


@admin.register(GlobalSuppression)
class GlobalSuppressionAdmin(LargeAdmin):
    """Numbers that no workspace may write to. Added and removed, never changed; each is in the audit."""

    form = GlobalSuppressionForm
    fields = ("phone", "reason")
    list_display = ("phone", "reason", "created_by", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("=phone", "reason")

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: GlobalSuppression, form: forms.ModelForm, change: bool) -> None:
        obj.created_by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)
        note_global(request, obj, "suppression.added_everywhere")

    def delete_model(self, request: HttpRequest, obj: GlobalSuppression) -> None:
        note_global(request, obj, "suppression.removed_everywhere")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        for suppression in queryset:
            note_global(request, suppression, "suppression.removed_everywhere")
        super().delete_queryset(request, queryset)


def note_global(request: HttpRequest, suppression: GlobalSuppression, action: str) -> None:
    target = f"number:{mask_phones(suppression.phone)}"
    record(None, request.user, action, target, reason=suppression.reason)  # type: ignore[arg-type]


@admin.register(ConsentEntry)
class ConsentEntryAdmin(LookOnly):
    list_display = ("pk", "phone", "kind", "source", "proof", "noted_by", "at", "workspace")
    list_filter = ("kind",)
    list_select_related = ("created_by", "contact_import__created_by", "workspace")
    search_fields = ("=phone", "=contact__uuid")


@admin.register(Erasure)
class ErasureAdmin(LookOnly):
    list_display = ("digest", "workspace", "created_by", "created_at")
    list_select_related = ("workspace", "created_by")
    search_fields = ("=digest", "workspace__name")


@admin.register(Reply)
class ReplyAdmin(LookOnly):
    list_display = ("pk", "phone", "kind", "device", "message_id", "at", "workspace")
    list_filter = ("kind",)
    list_select_related = ("device", "workspace")
    search_fields = ("=phone", "=wire_id", "=message__id")


@admin.register(NumberCheck)
class NumberCheckAdmin(LookOnly):
    list_display = ("phone", "on_whatsapp", "checked_at", "workspace")
    list_filter = ("on_whatsapp",)
    list_select_related = ("workspace",)
    search_fields = ("=phone",)


@admin.register(CheckRun)
class CheckRunAdmin(LookOnly):
    list_display = ("pk", "workspace", "tag", "total", "asked", "answered", "absent", "created_at", "finished_at")
    list_select_related = ("workspace", "tag")
    search_fields = ("workspace__name",)


@admin.register(ContactMove)
class ContactMoveAdmin(LookOnly):
    list_display = (
        "pk",
        "source",
        "target",
        "expected",
        "people",
        "messages",
        "created_at",
        "finished_at",
        "workspace",
    )
    list_select_related = ("source", "target", "workspace")
    search_fields = ("source__name", "target__name", "workspace__name")


@admin.register(CampaignSegment)
class CampaignSegmentAdmin(LookOnly):
    list_display = ("campaign", "segment", "excluded", "workspace")
    list_select_related = ("campaign", "segment", "workspace")
    search_fields = ("campaign__name", "segment__name")


@admin.register(Variant)
class VariantAdmin(LookOnly):
    list_display = ("campaign", "number", "share", "workspace")
    list_select_related = ("campaign", "workspace")
    search_fields = ("campaign__name",)


@admin.register(Segment)
class SegmentAdmin(LookOnly):
    list_display = ("name", "workspace", "created_by", "updated_at")
    list_select_related = ("workspace", "created_by")
    search_fields = ("name", "workspace__name", "=uuid")


@admin.register(CustomField)
class CustomFieldAdmin(LookOnly):
    list_display = ("name", "kind", "workspace", "created_at")
    list_filter = ("kind",)
    list_select_related = ("workspace",)
    search_fields = ("name", "workspace__name")


@admin.register(Template)
class TemplateAdmin(LookOnly):
    list_display = ("name", "workspace", "created_by", "updated_at", "archived_at")
    list_select_related = ("workspace", "created_by")
    search_fields = ("name", "workspace__name", "=uuid")


@admin.register(ContactChange)
class ContactChangeAdmin(LookOnly):
    list_display = ("pk", "deed", "workspace", "expected", "changed", "created_by", "created_at", "finished_at")
    list_filter = ("deed",)
    list_select_related = ("workspace", "created_by")
    search_fields = ("workspace__name", "=uuid")
