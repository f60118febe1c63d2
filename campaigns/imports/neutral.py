"""Cells that a spreadsheet can't take for formulas, in files that import again."""

STARTS = ("=", "+", "-", "@", "\t", "\r")


def neutral(cell: str) -> str:
    """With an apostrophe before what would start a formula (OWASP: CSV injection); `mapping.clean` takes it off."""
    return f"'{cell}" if cell.startswith(STARTS) else cell
