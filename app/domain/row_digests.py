"""Digests of rows: two sides compare their rows without showing them to each other."""

import hashlib
from collections.abc import Mapping
from typing import Final

from app.domain.contract import ROW_FIELDS
from app.domain.entities import Kind

_SEPARATOR: Final = "\x1f"
_NULL: Final = r"\N"


def digest_row(kind: Kind, row: Mapping[str, object]) -> str:
    r"""Compute the hex MD5 of the contract's fields of a row; others are ignored.

    The fields are joined by U+001F, in the contract's order, null as `\N`. SQL computes the same
    with `md5`.
    """
    values = (row.get(field) for field in ROW_FIELDS[kind])
    text = _SEPARATOR.join(_NULL if value is None else str(value) for value in values)
    # Not for security: a collision would hide one difference.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
