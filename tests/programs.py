"""Programs of the system that some tests drive: tests/install_packages.sh installs them where it may."""

import os
import shutil

import pytest

__all__ = ["program"]


def program(package: str, *others: str) -> str:
    """Where a program is, which is called as its package is or otherwise; the test is skipped where it is not."""
    path = os.environ["PATH"] + ":/usr/sbin"
    found = next((where for name in (package, *others) if (where := shutil.which(name, path=path))), None)
    if found is None:
        pytest.skip(f"{package} is not installed: sh tests/install_packages.sh")
    return found
