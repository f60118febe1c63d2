"""What the page of an import shows and hears: its state in words, the bar of its pass, and the pushes of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from accounts.live import push
from campaigns.models import ContactImport, ImportReject, ImportState
from campaigns.shown import Shown

REJECTS_SHOWN = 20
CELLS_SHOWN = 6
CELL_SHOWN = 60  # characters
STATES = {
    ImportState.OPENING: Shown("Opening", "blue", "The workbook is being read."),
    ImportState.UPLOADED: Shown("Waiting", "amber", "Tell what its columns hold to start it."),
    ImportState.QUEUED: Shown("Queued", "amber", "Waits for its turn."),
    ImportState.RUNNING: Shown("Running", "blue"),
    ImportState.DONE: Shown("Done", "green"),
    ImportState.FAILED: Shown("Failed", "red"),
    ImportState.STOPPED: Shown("Stopped", "grey"),
}


@dataclass(frozen=True, slots=True)
class Pass:
    """One of the two passes while it runs: how much of what, how fast, and how long the whole will take."""

    title: str
    done: int
    total: int
    label: str
    rate: str
    left: str


@dataclass(frozen=True, slots=True)
class Cells:
    """(column, text) of the first cells that are not empty, and how many such cells follow."""

    cells: Sequence[tuple[str, str]]
    more: int


def topic(contact_import: ContactImport) -> str:
    return f"import.{contact_import.uuid}"


def push_import(contact_import: ContactImport) -> None:
    push(
        contact_import.workspace,
        topic(contact_import),
        "campaigns/imports/_import.html",
        **live_context(contact_import),
    )


def live_context(contact_import: ContactImport) -> dict[str, Any]:
    """Everything `_import.html` reads."""
    return {
        "contact_import": contact_import,
        "state": shown_import(contact_import),
        "current": current_pass(contact_import),
        "undo_target": f"#import-{contact_import.uuid}",
        "rejects": shown_rejects(contact_import) if contact_import.rejected else [],
    }


def shown_rejects(contact_import: ContactImport) -> list[tuple[ImportReject, Cells]]:
    names = contact_import.mapping.get("names", [])
    return [(reject, cells_of(reject, names)) for reject in contact_import.rejects.order_by("row")[:REJECTS_SHOWN]]


def cells_of(reject: ImportReject, names: Sequence[str]) -> Cells:
    """What stands in the row, each cell with the name of its column; a row that was not understood as it is."""
    whole = len(reject.cells) == 1 and len(names) > 1
    named = ("Row",) if whole else tuple(name or f"Column {place}" for place, name in enumerate(names, 1))
    beyond = (f"Cell {place} of {len(reject.cells)}" for place in range(len(named) + 1, len(reject.cells) + 1))
    found = [
        (name, cell if len(cell) <= CELL_SHOWN else f"{cell[:CELL_SHOWN]}…")
        for name, cell in zip((*named, *beyond), map(str.strip, reject.cells), strict=False)
        if cell
    ]
    return Cells(found[:CELLS_SHOWN], len(found[CELLS_SHOWN:]))


def shown_import(contact_import: ContactImport) -> Shown:
    shown = STATES[ImportState(contact_import.state)]
    if contact_import.undone_at:
        return Shown("Undone", "grey", undone_words(contact_import))
    if contact_import.is_undoing:
        return Shown("Being undone", "blue", f"{contact_import.undone:,} new contacts removed so far.")
    if contact_import.dry_run and contact_import.state == ImportState.DONE:
        return Shown("Dry run", "blue", "Nobody was saved.")
    if contact_import.wants_sheet:
        return shown._replace(reason="Say which sheet is meant.")
    if not contact_import.error:
        return shown
    if contact_import.saved and not contact_import.dry_run:
        kept = f"{contact_import.saved:,} of {contact_import.contacts:,} contacts had been saved and stay."
    else:
        kept = "Nothing was imported."
    return shown._replace(reason=f"{contact_import.error} {kept}")


KEPT_WORDS = {
    "written": "written to since",
    "replied": "have answered",
    "changed": "changed since",
}


def undone_words(contact_import: ContactImport) -> str:
    """How many new contacts were removed, and how many stayed for which reason."""
    kept: dict[str, int] = contact_import.undo_kept
    words = f"{contact_import.undone:,} of {contact_import.created:,} new contacts removed."
    if kept:
        reasons = ", ".join(f"{count:,} {KEPT_WORDS.get(why, why)}" for why, count in kept.items())
        words += f" {sum(kept.values()):,} stayed: {reasons}."
    return words


def current_pass(contact_import: ContactImport) -> Pass | None:
    if contact_import.state != ImportState.RUNNING:
        return None
    now = timezone.now()
    rate = contact_import.rate(now)
    left = contact_import.seconds_left(now)
    words = in_seconds(left) if left is not None else ""
    if contact_import.read_at:
        return Pass(
            "Step 2 of 2: comparing with your contacts" if contact_import.dry_run else "Step 2 of 2: saving contacts",
            contact_import.saved,
            contact_import.contacts,
            "contacts",
            f"{rate:,.0f} a second" if rate else "",
            words,
        )
    return Pass(
        "Step 1 of 2: reading rows",
        contact_import.rows_done,
        contact_import.rows_expected,
        "rows or so",
        f"{rate:,.0f} a second" if rate else "",
        words,
    )


def in_seconds(seconds: float) -> str:
    """An import takes seconds or a few minutes: "about 40 s", "about 3 min"."""
    return f"about {max(1, round(seconds))} s" if seconds < 100 else f"about {round(seconds / 60)} min"
