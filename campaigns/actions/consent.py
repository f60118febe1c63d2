"""Writing to the consent ledger: an entry for each time somebody agreed or withdrew, in the deed's transaction."""

from __future__ import annotations

from accounts.models import User, Workspace
from campaigns.models import ConsentEntry, ConsentKind, Contact

SOURCE_LENGTH, PROOF_LENGTH = 200, 300


def note_granted(
    workspace: Workspace, phone: str, contact: Contact | None, source: str, proof: str, by: User | None
) -> None:
    """The person with this number (E.164) agreed; ``by`` None: they did it themselves."""
    _note(ConsentKind.GRANTED, workspace, phone, contact, source, proof, by)


def note_withdrawn(
    workspace: Workspace, phone: str, contact: Contact | None, source: str, proof: str, by: User | None
) -> None:
    """The person with this number (E.164), a contact or not, wants to hear no more."""
    _note(ConsentKind.WITHDRAWN, workspace, phone, contact, source, proof, by)


def _note(
    kind: str, workspace: Workspace, phone: str, contact: Contact | None, source: str, proof: str, by: User | None
) -> None:
    ConsentEntry.objects.create(
        workspace=workspace,
        contact=contact,
        phone=phone,
        kind=kind,
        source=source[:SOURCE_LENGTH],
        proof=proof[:PROOF_LENGTH],
        created_by=by,
    )
