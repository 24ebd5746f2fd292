"""Errors that a user can act on: one line on the terminal, no traceback."""

__all__ = ["DataError", "UserError"]


class UserError(Exception):
    """Something the user can fix. The message says what is wrong, where, and the way out."""


class DataError(UserError):
    """A data file or picture that cannot be used; the message names the file and the row."""
