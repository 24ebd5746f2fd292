"""JSON from clients, counted before it is built: 18 MB of ``1,1,1,…`` would be gigabytes of objects.

The parser holds Python's lock until it is done, in whatever thread it runs; what it may be given keeps that short.
"""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from llave.serving.errors import ApiError, bad_request, first_problem

__all__ = ["MAX_NESTED", "MAX_VALUES", "parse_json"]

MAX_VALUES = 1_000_000
"""Commas of a body: numbers and texts of its lists. Token ids are the most that are meant; no queue takes more."""
MAX_NESTED = 100_000
"""Lists, objects and their fields, which cost hundreds of bytes each."""
MAX_QUOTES = 6 * MAX_NESTED
"""More strings than fields, their values and a list's items; they stay, and what is in them counts."""
Body = TypeVar("Body", bound=BaseModel)


def parse_json(raw: bytes, model: type[Body]) -> Body:
    """A body as a model.

    Raises:
        ApiError: 413, more values than any request needs; 400, not JSON, or not of the model's form.
    """
    if not _is_small(raw) and not _is_small(_without_strings(raw)):
        raise ApiError(413, f"a body of more than {MAX_VALUES:,} values or {MAX_NESTED:,} nested ones; send less")
    try:
        return model.model_validate(from_json(raw))
    except ValidationError as error:
        raise first_problem(error) from None
    except ValueError as error:
        raise bad_request(f"the body is not JSON: {error}", code="invalid_json") from None


def _is_small(raw: bytes) -> bool:
    nested = sum(raw.count(mark) for mark in (b"[", b"{", b":"))
    return nested <= MAX_NESTED and raw.count(b",") <= MAX_VALUES


def _without_strings(raw: bytes) -> bytes:
    """The structure alone: long texts have commas and brackets of their own."""
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(plain.split(b'"', MAX_QUOTES)[::2])
