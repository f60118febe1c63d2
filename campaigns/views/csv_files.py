"""Tables as CSV files that a spreadsheet opens without running anything in them."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Sequence
from typing import IO, cast

from django.http import FileResponse, HttpResponse

from campaigns.imports.neutral import neutral


def csv_answer(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> HttpResponse:
    """The rows as a file to keep, row by row: on disk beyond 1 MB, whatever their number.

    Finished here, since a response streams after the transaction that may see the rows.
    """
    file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=1 << 20)  # noqa: SIM115
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
    out = csv.writer(text)
    out.writerow(header)
    for row in rows:
        out.writerow([neutral(str(cell)) for cell in row])
    text.detach()
    file.seek(0)
    answer = FileResponse(file, as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")
    return cast(HttpResponse, answer)
