"""The wall between workspaces, asked of the database itself: constraints, policies, grants and the restricted role."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, ProgrammingError, models, transaction
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from accounts import audit, tenancy
from accounts.models import AuditEntry, Membership, Role, User, Workspace
from accounts.tenancy import TENANT_ROLE, TenantForeignKey, TenantModel, beyond_workspace, tenant_scope
from campaigns.models import (
    Attempt,
    Campaign,
    CampaignSegment,
    CampaignTag,
    CheckRun,
    ConsentEntry,
    Contact,
    ContactChange,
    ContactImport,
    ContactMove,
    CustomField,
    DayMeter,
    Erasure,
    HourMeter,
    ImportChunk,
    ImportReject,
    ImportRow,
    Lane,
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
from devices.models import Device, DeviceEvent, SessionVault
from monitoring.models import Alert, AlertChoice
from tests.accounts.asking import ask, change, owner_name, who_asks
from tests.factories import (
    make_campaign,
    make_contact,
    make_device,
    make_host,
    make_media,
    make_member,
    make_wall_link,
    make_workspace,
)

TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]
CROSS_REFERENCES: list[tuple[type[models.Model], Any]] = [
    (model, field)
    for model in TENANT_MODELS
    for field in model._meta.local_fields
    if isinstance(field, TenantForeignKey)
]
REFERRED_TO = [model for model in TENANT_MODELS if any(f.related_model is model for _, f in CROSS_REFERENCES)]

# What the restricted role may do. A tenant's own tables are its own, but for sealed sessions, which are the engine's;
# everything else is written down here.
CLOSED = [SessionVault]
OPEN_MODELS = [model for model in TENANT_MODELS if model not in CLOSED]
LEDGERS = [ConsentEntry, Erasure]
METERS = [DayMeter, HourMeter, MeterTotal, MinuteMeter, Alert]  # only engines and the clock write them
OWN_TABLE = {"SELECT", "INSERT", "UPDATE", "DELETE"}
OTHER_GRANTS = {
    "accounts_user": {"SELECT"},
    "accounts_workspace": {"SELECT"},
    "accounts_workspace.name": {"UPDATE"},
    "accounts_workspace.timezone": {"UPDATE"},
    "accounts_workspace.default_country": {"UPDATE"},
    "accounts_membership": {"SELECT"},
    "accounts_auditentry": {"SELECT", "INSERT"},
    "accounts_workspace.quiet_from": {"UPDATE"},
    "accounts_workspace.quiet_to": {"UPDATE"},
    "accounts_workspace.frequency_cap": {"UPDATE"},
    "accounts_workspace.frequency_days": {"UPDATE"},
    "campaigns_consententry": {"SELECT", "INSERT"},
    "campaigns_consententry.contact_id": {"UPDATE"},
    "campaigns_consententry.contact_import_id": {"UPDATE"},
    "campaigns_consententry.phone": {"UPDATE"},
    "campaigns_erasure": {"SELECT", "INSERT"},
    "campaigns_globalsuppression": {"SELECT"},
    "campaigns_daymeter": {"SELECT"},
    "campaigns_hourmeter": {"SELECT"},
    "campaigns_metertotal": {"SELECT"},
    "campaigns_minutemeter": {"SELECT"},
    "devices_host": {"SELECT"},
    "monitoring_alert": {"SELECT"},
}


@dataclass(frozen=True)
class Cast:
    """Alice and Bob each own a workspace with a row in every tenant table; Charlie works for Bob."""

    alice: Workspace
    bob: Workspace
    charlie: User


def fill(workspace: Workspace, number: int) -> None:
    """One row in every tenant table; with another ``number`` no two workspaces clash in a unique key."""
    upload = ContactImport.objects.create(workspace=workspace, filename="people.csv")
    ImportChunk.objects.create(workspace=workspace, contact_import=upload, number=number, data=b"phone\n")
    ImportReject.objects.create(workspace=workspace, contact_import=upload, row=number, line=2, reason="No number")
    ImportRow.objects.create(
        workspace=workspace, contact_import=upload, phone=f"+6019{number:07d}", name="Row", tags=""
    )
    device = make_device(workspace)
    DeviceEvent.objects.create(workspace=workspace, device=device, kind="paired")
    for meter in (MinuteMeter, HourMeter, DayMeter):
        meter.objects.create(workspace=workspace, device=device, start=timezone.now())
    MeterTotal.objects.create(workspace=workspace, device=device)
    contact = make_contact(workspace, tags=(f"vip{number}",), consent_import=upload)
    campaign = make_campaign(workspace, devices=(device,), media=make_media(workspace))
    CampaignTag.objects.create(workspace=workspace, campaign=campaign, tag=Tag.objects.get(workspace=workspace))
    stream = Stream.objects.create(workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN)
    message = Message.objects.create(
        workspace=workspace,
        stream=stream,
        campaign=campaign,
        contact=contact,
        content=campaign.content,
        phone=contact.phone,
        due_at=timezone.now(),
    )
    began = timezone.now()
    Attempt.objects.create(
        workspace=workspace,
        message=message,
        number=number,
        device_id=device.pk,
        tag=bytes(32),
        epoch=1,
        started_at=began,
    )
    Uncertain.objects.create(
        workspace=workspace,
        message=message,
        device_id=device.pk,
        phone=contact.phone,
        tag=bytes(32),
        began_at=began,
    )
    Suppression.objects.create(workspace=workspace, phone=contact.phone, source="person")
    Reply.objects.create(
        workspace=workspace, device=device, contact=contact, message=message, wire_id=f"IN{number}", at=began
    )
    ContactMove.objects.create(workspace=workspace, source=device, target=device, expected=1, finished_at=began)
    ContactChange.objects.create(workspace=workspace, deed="delete", selection={}, up_to=number, expected=1)
    CheckRun.objects.create(workspace=workspace, tag=Tag.objects.get(workspace=workspace), total=1)
    NumberCheck.objects.create(workspace=workspace, phone=contact.phone, on_whatsapp=True)
    WireId.objects.create(workspace=workspace, device_id=device.pk, wire_id=f"WIRE{number}", message_id=message.pk)
    SessionVault.objects.create(workspace=workspace, device=device, host="here", sealed=b"sealed")
    CustomField.objects.create(workspace=workspace, name=f"City {number}")
    segment = Segment.objects.create(workspace=workspace, name=f"Segment {number}")
    CampaignSegment.objects.create(workspace=workspace, campaign=campaign, segment=segment)
    Variant.objects.create(workspace=workspace, campaign=campaign, number=number, content=campaign.content, share=100)
    Template.objects.create(workspace=workspace, name=f"Hello {number}", content=campaign.content)
    ConsentEntry.objects.create(workspace=workspace, contact=contact, phone=contact.phone, kind="granted", source="A")
    make_wall_link(workspace, kind="device", device=device)
    make_wall_link(workspace, kind="campaign", campaign=campaign)
    Erasure.objects.create(workspace=workspace, digest=f"{number:064d}")
    Alert.objects.create(
        workspace=workspace, rule="device_gone", about=f"device:{device.uuid}", title="A", since=began, seen_at=began
    )
    AlertChoice.objects.create(workspace=workspace, user=workspace.owner, wanted=True)
    audit.record(workspace, workspace.owner, "campaign.created", campaign.target)


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    """Made once for all tests of this module: each works in a savepoint on top of it."""
    with django_db_blocker.unblock(), transaction.atomic():
        alice, bob = make_workspace(), make_workspace()
        fill(alice, 1)
        fill(bob, 2)
        yield Cast(alice, bob, make_member(bob, Role.VIEWER))
        transaction.set_rollback(True)


# ---- What the tables are


@pytest.mark.django_db
@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model._meta.db_table)
def test_every_tenant_table_names_its_workspace_and_stands_behind_the_policy(model: type[models.Model]) -> None:
    table = model._meta.db_table
    assert ask(
        "SELECT attnotnull FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'workspace_id'", table
    ) == [(True,)]
    assert ask("SELECT relrowsecurity FROM pg_class WHERE oid = %s::regclass", table) == [(True,)]
    policies = ask(
        "SELECT polname, polpermissive, polcmd::text, polroles = '{0}', pg_get_expr(polqual, polrelid), polwithcheck"
        " FROM pg_policy WHERE polrelid = %s::regclass",
        table,
    )
    condition = "(workspace_id = (NULLIF(current_setting('flotilla.workspace'::text, true), ''::text))::bigint)"
    assert policies == [("one_workspace", True, "*", True, condition, None)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "field"), CROSS_REFERENCES, ids=[f"{m._meta.db_table}.{f.column}" for m, f in CROSS_REFERENCES]
)
def test_every_cross_reference_is_a_composite_foreign_key(model: type[models.Model], field: Any) -> None:
    found = ask(
        "SELECT confrelid::regclass::text, convalidated, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid = %s::regclass AND conname = %s",
        model._meta.db_table,
        f"{model._meta.db_table}_{field.column}_tenant_fk",
    )
    target = field.related_model._meta.db_table
    cascade = " ON DELETE CASCADE" if field.remote_field.on_delete is models.DO_NOTHING else ""
    definition = f"FOREIGN KEY (workspace_id, {field.column}) REFERENCES {target}(workspace_id, id){cascade} DEFERRABLE"
    assert found == [(target, True, definition)]


def test_tenant_rows_never_refer_to_each_other_by_a_plain_foreign_key() -> None:
    plain = [
        f"{model._meta.label}.{field.name}"
        for model in TENANT_MODELS
        for field in [*model._meta.local_fields, *model._meta.local_many_to_many]
        if isinstance(field, models.ForeignKey | models.ManyToManyField)
        and not isinstance(field, TenantForeignKey)
        and isinstance(field.related_model, type)
        and issubclass(field.related_model, TenantModel)
    ]
    assert plain == []


def test_only_tenant_rows_refer_to_tenant_rows() -> None:
    outsiders = [
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models(include_auto_created=True)
        if not issubclass(model, TenantModel)
        for field in model._meta.local_fields
        if isinstance(field.related_model, type) and issubclass(field.related_model, TenantModel)
    ]
    assert outsiders == []


@pytest.mark.django_db
def test_every_table_with_a_workspace_stands_behind_a_policy() -> None:
    """Whatever its model is called: also the audit ledger, memberships, and tables no model knows."""
    open_tables = ask(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id'"
        " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace"
        " AND NOT (c.relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid))"
    )
    assert open_tables == []


# ---- What the restricted role may do


@pytest.mark.django_db
def test_the_restricted_role_has_exactly_the_grants_written_down() -> None:
    granted: defaultdict[str, set[str]] = defaultdict(set)
    for name, privilege in ask(
        "SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a"
        " WHERE c.relnamespace = current_schema()::regnamespace AND a.grantee IN (0, %s::regrole)"
        " UNION ALL SELECT c.relname || '.' || t.attname, a.privilege_type"
        " FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a"
        " WHERE c.relnamespace = current_schema()::regnamespace AND a.grantee IN (0, %s::regrole)",
        TENANT_ROLE,
        TENANT_ROLE,
    ):
        granted[name].add(privilege)
    written = {model._meta.db_table: OWN_TABLE for model in OPEN_MODELS} | OTHER_GRANTS
    assert dict(granted) == written


@pytest.mark.django_db
def test_the_restricted_role_is_nobody_else() -> None:
    assert ask(
        "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication"
        " FROM pg_roles WHERE rolname = %s",
        TENANT_ROLE,
    ) == [(False,) * 6]
    assert ask("SELECT roleid::regrole::text FROM pg_auth_members WHERE member = %s::regrole", TENANT_ROLE) == []
    assert ask("SELECT has_schema_privilege(%s, current_schema(), 'CREATE')", TENANT_ROLE) == [(False,)]


@pytest.mark.django_db
def test_functions_that_run_as_the_owner_can_only_be_reached_through_a_trigger() -> None:
    found = ask(
        "SELECT proname, prorettype::regtype::text, proconfig IS NOT NULL FROM pg_proc"
        " WHERE prosecdef AND pronamespace = current_schema()::regnamespace"
    )
    assert {kind for _, kind, _ in found} <= {"trigger"}
    assert all(pinned for _, _, pinned in found), "a search_path must be pinned"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "table",
    [
        "django_session",
        "accounts_loginthrottle",
        "django_migrations",
        "pg_authid",
        *(model._meta.db_table for model in CLOSED),
    ],
)
def test_sessions_and_throttles_are_closed_to_the_restricted_role(cast: Cast, table: str) -> None:
    with tenant_scope(cast.alice), pytest.raises(ProgrammingError, match="permission denied"):
        change(f"SELECT * FROM {table}")


@pytest.mark.django_db
def test_a_workspace_cannot_raise_its_own_limit_or_change_its_owner(cast: Cast) -> None:
    with tenant_scope(cast.alice):
        assert Workspace.objects.filter(pk=cast.alice.pk).update(name="Renamed") == 1
        for column, value in (("device_limit", 999), ("owner", cast.charlie.pk), ("id", 0)):
            with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
                Workspace.objects.filter(pk=cast.alice.pk).update(**{column: value})


@pytest.mark.django_db
def test_the_audit_ledger_takes_entries_and_never_changes(cast: Cast) -> None:
    with tenant_scope(cast.alice):
        audit.record(cast.alice, None, "test.done")
        assert AuditEntry.objects.filter(action="test.done").exists()
        for deed in ("UPDATE accounts_auditentry SET action = 'x'", "DELETE FROM accounts_auditentry"):
            with pytest.raises(ProgrammingError, match="permission denied"):
                change(deed)


# ---- What one workspace sees of another


@pytest.mark.django_db
@pytest.mark.parametrize("model", [*OPEN_MODELS, AuditEntry, Membership], ids=lambda model: model._meta.db_table)
def test_raw_sql_sees_and_changes_only_its_own_workspace(cast: Cast, model: type[models.Model]) -> None:
    table = model._meta.db_table
    counts = dict(ask(f'SELECT workspace_id, count(*) FROM "{table}" GROUP BY 1'))
    assert counts[cast.alice.pk] > 0, f"fill() makes no {model._meta.label}"
    assert counts[cast.bob.pk] > 0
    with tenant_scope(cast.alice):
        assert ask(f'SELECT workspace_id, count(*) FROM "{table}" GROUP BY 1') == [
            (cast.alice.pk, counts[cast.alice.pk])
        ]
        if model in TENANT_MODELS and model not in [*LEDGERS, *METERS]:
            own = f'UPDATE "{table}" SET workspace_id = workspace_id WHERE workspace_id = %s'
            assert change(own, cast.bob.pk) == 0
            assert change(f'DELETE FROM "{table}" WHERE workspace_id = %s', cast.bob.pk) == 0
            assert ask(f'SELECT id FROM "{table}" WHERE workspace_id = %s FOR UPDATE', cast.bob.pk) == []
    assert dict(ask(f'SELECT workspace_id, count(*) FROM "{table}" GROUP BY 1')) == counts


@pytest.mark.django_db
@pytest.mark.parametrize(
    "model",
    [*(model for model in OPEN_MODELS if model not in METERS), AuditEntry],
    ids=lambda model: model._meta.db_table,
)
def test_raw_sql_cannot_put_a_row_into_another_workspace(cast: Cast, model: type[models.Model]) -> None:
    table = model._meta.db_table
    [(row,)] = ask(f'SELECT to_jsonb(t)::text FROM "{table}" t WHERE workspace_id = %s LIMIT 1', cast.bob.pk)
    forged = json.dumps({**json.loads(row), "id": 10**9})
    columns = ", ".join(f'"{field.column}"' for field in model._meta.local_fields)
    with tenant_scope(cast.alice):
        with pytest.raises(ProgrammingError, match="row-level security policy"):
            change(
                f'INSERT INTO "{table}" ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::"{table}", %s)',
                forged,
            )
        if model in TENANT_MODELS and model not in [*LEDGERS, *METERS]:
            with pytest.raises(ProgrammingError, match="row-level security policy"):
                change(f'UPDATE "{table}" SET workspace_id = %s', cast.bob.pk)


@pytest.mark.django_db
def test_a_scope_shows_one_workspace_and_its_members_only(cast: Cast) -> None:
    with tenant_scope(cast.alice):
        assert list(Workspace.objects.all()) == [cast.alice]
        assert [member.user_id for member in Membership.objects.all()] == [cast.alice.owner_id]


@pytest.mark.django_db
def test_the_restricted_role_without_a_workspace_sees_nothing(cast: Cast) -> None:
    with transaction.atomic():
        ask("SELECT set_config('role', %s, true)", TENANT_ROLE)
        walled: list[type[models.Model]] = [*OPEN_MODELS, Workspace, Membership]
        seen = {model._meta.db_table: model._base_manager.count() for model in walled}
        ask("SELECT set_config('role', 'none', true)")
    assert set(seen.values()) == {0}, seen


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "field"), CROSS_REFERENCES, ids=[f"{m._meta.db_table}.{f.column}" for m, f in CROSS_REFERENCES]
)
def test_the_database_refuses_a_cross_workspace_reference_even_from_its_owner(
    cast: Cast, model: type[models.Model], field: Any
) -> None:
    foreign = field.related_model._base_manager.filter(workspace=cast.bob).first()
    assert foreign is not None
    for unique in (Uncertain, SessionVault):  # else their uniqueness refuses first
        unique.objects.for_workspace(cast.bob).delete()
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        model._base_manager.filter(workspace=cast.alice).update(**{field.attname: foreign.pk})
    assert isinstance(refusal.value.__cause__, Exception)
    expected = f"{model._meta.db_table}_{field.column}_tenant_fk"
    assert refusal.value.__cause__.diag.constraint_name == expected  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.parametrize("model", REFERRED_TO, ids=lambda model: model._meta.db_table)
def test_no_row_moves_to_another_workspace_while_others_refer_to_it(cast: Cast, model: type[models.Model]) -> None:
    with pytest.raises(IntegrityError, match="_tenant_fk"), transaction.atomic():
        model._base_manager.filter(workspace=cast.alice).update(workspace=cast.bob)


# ---- Entering and leaving the scope


@pytest.mark.django_db
def test_leaving_a_scope_gives_the_owner_back(cast: Cast) -> None:
    with tenant_scope(cast.alice):
        assert who_asks() == (TENANT_ROLE, str(cast.alice.pk))
    assert who_asks() == (owner_name(), "")


@pytest.mark.django_db
def test_a_nested_scope_gives_the_outer_one_back(cast: Cast) -> None:
    with tenant_scope(cast.alice):
        with tenant_scope(cast.bob):
            assert list(Workspace.objects.all()) == [cast.bob]
        assert who_asks() == (TENANT_ROLE, str(cast.alice.pk))
        assert Contact.objects.count() == 1
    assert who_asks() == (owner_name(), "")


@pytest.mark.django_db
def test_an_error_inside_a_nested_scope_gives_the_outer_one_back(cast: Cast) -> None:
    with tenant_scope(cast.alice):
        with pytest.raises(LookupError), tenant_scope(cast.bob):
            raise LookupError
        assert who_asks() == (TENANT_ROLE, str(cast.alice.pk))
        with pytest.raises(DatabaseError), tenant_scope(cast.bob):
            ask("SELECT 1/0")
        assert who_asks() == (TENANT_ROLE, str(cast.alice.pk))


@pytest.mark.django_db
def test_asking_beyond_the_workspace_ends_with_its_block_also_after_an_error(cast: Cast) -> None:
    make_host()
    with tenant_scope(cast.alice):
        with beyond_workspace():
            assert Device.objects.count() == 2
        assert who_asks() == (TENANT_ROLE, str(cast.alice.pk))
        with pytest.raises(LookupError), beyond_workspace():
            raise LookupError
        assert who_asks() == (TENANT_ROLE, str(cast.alice.pk))
        with pytest.raises(DatabaseError), beyond_workspace():
            ask("SELECT 1/0")
        assert who_asks() == (TENANT_ROLE, str(cast.alice.pk))


@pytest.mark.django_db
def test_a_scope_that_was_told_to_roll_back_undoes_its_work_and_its_role(cast: Cast) -> None:
    with tenant_scope(cast.alice):
        Contact.objects.update(name="Changed")
        transaction.set_rollback(True)
    assert not Contact.objects.filter(name="Changed").exists()
    assert who_asks() == (owner_name(), "")


@pytest.mark.django_db
def test_a_missing_role_is_noticed_and_pages_go_on(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenancy, "_role_was_found", False)
    change(f"ALTER ROLE {TENANT_ROLE} RENAME TO flotilla_renamed")  # until this test's transaction is rolled back
    assert not tenancy.has_tenant_role()
    with tenant_scope(cast.alice):
        assert who_asks() == (owner_name(), str(cast.alice.pk))
    change(f"ALTER ROLE flotilla_renamed RENAME TO {TENANT_ROLE}")
    assert tenancy.has_tenant_role(), "a role made later is found without a restart"


# ---- The limit of devices


@pytest.mark.django_db
def test_the_database_refuses_one_device_too_many(cast: Cast) -> None:
    Workspace.objects.filter(pk=cast.alice.pk).update(device_limit=2)
    make_device(cast.alice)
    for scope in (tenant_scope(cast.alice), transaction.atomic()):
        with pytest.raises(IntegrityError, match="the workspace has its 2 devices"), scope:
            make_device(cast.alice)
    with pytest.raises(IntegrityError, match="the workspace has its 2 devices"), transaction.atomic():
        Device.objects.bulk_create([Device(workspace=cast.alice, name=f"Bulk {n}") for n in range(2)])
    make_device(cast.bob)


# ---- Lookups


@pytest.mark.django_db
@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model._meta.db_table)
def test_for_workspace_finds_its_own_rows_only(cast: Cast, model: type[models.Model]) -> None:
    found = model.objects.for_workspace(cast.alice)  # type: ignore[attr-defined]
    assert {row.workspace_id for row in found} == {cast.alice.pk}


@pytest.mark.django_db
def test_the_cast_is_complete(cast: Cast) -> None:
    """Every test above is worth what `fill` fills: both workspaces have rows everywhere."""
    missing = [
        model._meta.label
        for model in TENANT_MODELS
        for workspace in (cast.alice, cast.bob)
        if not model._base_manager.filter(workspace=workspace).exists()
    ]
    assert missing == []
    assert Campaign.objects.count() == 2
