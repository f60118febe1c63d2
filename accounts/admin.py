"""The staff's view of users, workspaces and the ledger."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.forms import BaseModelFormSet, ModelForm
from django.http import HttpRequest

from accounts.audit import record
from accounts.models import AuditEntry, LoginThrottle, Membership, Role, User, Workspace


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)
    verbose_name_plural = "members"


class UserCreationForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("email",)


@admin.register(User)
class UserAdmin(StockUserAdmin):
    add_form = UserCreationForm
    ordering = ("email",)
    list_display = ("email", "first_name", "last_name", "workspace", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "date_joined")
    list_select_related = ("owned_workspace",)
    search_fields = ("email", "first_name", "last_name", "owned_workspace__name")
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        ("Person", {"fields": ("first_name", "last_name")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "usable_password", "password1", "password2")}),)

    @admin.display(ordering="owned_workspace__name")
    def workspace(self, user: User) -> str:
        return user.owned_workspace.name if hasattr(user, "owned_workspace") else "—"

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        rights = {"is_active", "is_staff", "is_superuser"} & set(form.changed_data)
        if rights:
            now = {name: getattr(obj, name) for name in sorted(rights)}
            record(None, request.user, "user.rights", f"user:{obj.pk}", **now)  # type: ignore[arg-type]


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin):
    list_display = ("name", "owner", "timezone", "default_country", "device_limit", "weight", "members", "created_at")
    list_filter = ("created_at", "default_country")
    list_select_related = ("owner",)
    search_fields = ("name", "uuid", "owner__email", "memberships__user__email")
    autocomplete_fields = ("owner",)
    readonly_fields = ("uuid", "created_at")
    date_hierarchy = "created_at"
    inlines = (MembershipInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("memberships")

    @admin.display
    def members(self, workspace: Workspace) -> int:
        return len(workspace.memberships.all())

    def save_model(self, request: HttpRequest, obj: Workspace, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            Membership.objects.get_or_create(workspace=obj, user=obj.owner, defaults={"role": Role.OWNER})
        if form.changed_data:
            action = "workspace.changed" if change else "workspace.created"
            now = {name: str(getattr(obj, name)) for name in form.changed_data}
            record(obj, request.user, action, f"workspace:{obj.uuid}", **now)  # type: ignore[arg-type]

    def save_formset(self, request: HttpRequest, form: ModelForm, formset: BaseModelFormSet, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        if formset.model is not Membership:
            return
        for membership in [*formset.new_objects, *(changed for changed, _fields in formset.changed_objects)]:
            note_role(request, membership, "member.role")
        for membership in formset.deleted_objects:
            note_role(request, membership, "member.removed")


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):
    list_display = ("user", "workspace", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "workspace")
    search_fields = ("user__email", "workspace__name")
    autocomplete_fields = ("user", "workspace")

    def save_model(self, request: HttpRequest, obj: Membership, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        note_role(request, obj, "member.role")

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        note_role(request, obj, "member.removed")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for membership in queryset.select_related("workspace", "user"):
            note_role(request, membership, "member.removed")
        super().delete_queryset(request, queryset)


def note_role(request: HttpRequest, membership: Membership, action: str) -> None:
    record(
        membership.workspace,
        request.user,  # type: ignore[arg-type]
        action,
        f"user:{membership.user_id}",
        email=membership.user.email,
        role=membership.role,
    )


class ReadOnlyAdmin(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "action", "actor", "workspace", "target", "detail")
    list_filter = ("action", "at")
    list_select_related = ("actor", "workspace")
    search_fields = ("action", "target", "actor__email", "workspace__name")
    date_hierarchy = "at"
    show_full_result_count = False


@admin.register(LoginThrottle)
class LoginThrottleAdmin(ReadOnlyAdmin):
    """Staff may delete a row: that lets a locked-out person try again at once."""

    list_display = ("key", "count", "window_start")
    ordering = ("-window_start",)
    search_fields = ("key",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)
