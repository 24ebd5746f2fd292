"""A PDF of pages with a line of text each, as small as one can be."""

from pathlib import Path

__all__ = ["written_pdf"]


def written_pdf(path: Path, *lines: str) -> Path:
    """A page for each line."""
    pages = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(lines)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{pages}]/Count {len(lines)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for n, line in enumerate(lines):
        drawn = f"BT /F1 12 Tf 20 100 Td ({line}) Tj ET"
        about = "/Type/Page/Parent 2 0 R/MediaBox[0 0 300 150]/Resources<</Font<</F1 3 0 R>>>>"
        objects.append(f"<<{about}/Contents {5 + 2 * n} 0 R>>")
        objects.append(f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream")
    content, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(content))
        content += f"{number} 0 obj {body} endobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"trailer <</Root 1 0 R/Size {size}>>\nstartxref\n{len(content)}\n%%EOF"
    path.write_bytes(f"{content}xref\n0 {size}\n0000000000 65535 f \n{table}{end}".encode("latin-1"))
    return path
