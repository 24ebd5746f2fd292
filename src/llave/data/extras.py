"""Packages that only some inputs need."""

import importlib.util

from llave.errors import UserError

__all__ = ["need"]


def need(package: str, what: str) -> None:
    """Check that it is there, without importing it.

    Raises:
        UserError: it is not installed; the message says how to.
    """
    if importlib.util.find_spec(package) is None:
        name = package.replace("_", "-")
        raise UserError(f"{what}: the package {name} is missing: pip install 'llave[media]'")
