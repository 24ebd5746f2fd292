"""The recipes and grids that come with llave, found by name from any folder."""

from pathlib import Path

from llave.errors import UserError

__all__ = ["FOLDER", "find_recipe"]

FOLDER = Path(__file__).parent


def find_recipe(name: str | Path) -> Path:
    """The file ``name``; where there is none, the recipe of llave's that is called so.

    ``nano``, ``nano.yaml`` and ``recipes/nano.yaml`` are all the packaged one, ``ablations/plateau`` a packaged grid.

    Raises:
        UserError: neither; the line names the recipes there are.
    """
    path = Path(name)
    if path.is_file():
        return path
    asked = path.relative_to("recipes") if path.parts[:1] == ("recipes",) else path
    packaged = sorted(FOLDER.rglob("*.yaml"))
    found = {one.relative_to(FOLDER).with_suffix("").as_posix(): one for one in packaged}
    recipe = found.get(asked.with_suffix("").as_posix() if asked.suffix in {".yaml", ".yml"} else asked.as_posix())
    if recipe is None:
        raise UserError(f"{name}: no such recipe; llave's own are: {', '.join(found)}")
    return recipe
