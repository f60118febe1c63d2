"""Devices, their history and the hosts in the admin: to look at; the engine writes most of it."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from devices.models import Device, DeviceEvent, Host

ENGINE_COLUMNS = (
    "owner",
    "epoch",
    "state",
    "state_reason",
    "state_at",
    "banned_until",
    "request",
    "requested_at",
    "next_send_at",
    "hour_start",
    "hour_used",
    "day_start",
    "day_used",
    "open_message",
    "open_at",
    "last_sent_at",
)


class ReadOnly(admin.ModelAdmin):
    """What only processes write."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Device)
class DeviceAdmin(admin.ModelAdmin):
    list_display = (
        "name",
        "workspace",
        "phone",
        "driver",
        "state",
        "state_reason",
        "owner",
        "day_used",
        "last_sent_at",
    )
    list_filter = ("state", "driver", "owner")
    list_select_related = ("workspace", "owner")
    search_fields = ("name", "phone", "uuid", "workspace__name", "workspace__owner__email")
    search_help_text = "Name, number, UUID, workspace or its owner's e-mail"
    ordering = ("workspace", "name")
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("workspace", "name", "driver", "phone", "uuid", "created_at")}),
        ("Pace", {"fields": ("min_delay", "max_delay", "hourly_cap", "daily_cap")}),
        ("Written by the engine", {"fields": ENGINE_COLUMNS}),
    )
    readonly_fields = ("workspace", "driver", "phone", "uuid", "created_at", *ENGINE_COLUMNS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # people add devices in their workspace, where pairing follows

    def has_delete_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        return False  # its messages would go with it


@admin.register(DeviceEvent)
class DeviceEventAdmin(ReadOnly):
    list_display = ("at", "device", "workspace", "kind", "detail")
    list_filter = ("kind",)
    list_select_related = ("device", "workspace")
    search_fields = ("device__name", "device__phone", "kind", "detail")
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(Host)
class HostAdmin(ReadOnly):
    list_display = ("id", "alive", "devices_owned", "hostname", "pid", "incarnation", "lease_until", "retiring")
    list_filter = ("retiring",)
    search_fields = ("id", "hostname")
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Host]:
        return Host.objects.by_load().with_alive().order_by("id")

    @admin.display(description="devices", ordering="load")
    def devices_owned(self, host: Host) -> int:
        return int(getattr(host, "load", 0))

    @admin.display(boolean=True)
    def alive(self, host: Host) -> bool:
        return bool(getattr(host, "lives", False))
