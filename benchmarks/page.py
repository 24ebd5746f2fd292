"""Tables of committed measurements in the pages of docs/, between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""

from pathlib import Path

__all__ = ["rewrite", "shown"]


def rewrite(page: Path, name: str, table: str) -> None:
    """Put a table into its place.

    Raises:
        ValueError: the page has no such place.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    shown(page, name)
    before, _, rest = page.read_text("utf-8").partition(start)
    page.write_text(f"{before}{start}\n{table.strip()}\n{end}{rest.partition(end)[2]}", "utf-8")


def shown(page: Path, name: str) -> str:
    """What stands there now, line breaks included."""
    _, found, after = page.read_text("utf-8").partition(f"<!-- {name} -->")
    content, end, _ = after.partition(f"<!-- /{name} -->")
    if not found or not end:
        raise ValueError(f"{page}: no place <!-- {name} --> … <!-- /{name} -->")
    return content
