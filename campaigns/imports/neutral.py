"""Cells that a spreadsheet can't take for formulas, in files that import again."""

FORMULAS = tuple("=+-@＝＋－＠")  # noqa: RUF001 - some Excels take the wide ones for formulas too
STARTS = (*FORMULAS, "\t", "\r", "\n")


def neutral(cell: str) -> str:
    """With an apostrophe before what would start a formula (OWASP: CSV injection); `mapping.clean` takes it off."""
    return f"'{cell}" if cell.startswith(STARTS) else cell
