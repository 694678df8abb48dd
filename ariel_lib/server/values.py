"""Conversion of values to those that JSON can represent: finite numbers or null, text that UTF-8 can encode, nested names with dots."""

import math
from collections.abc import Callable

import numpy as np

FLAT_LIMIT = 500  # names that one nested mapping may give


def as_json(value):
    """Parsed JSON with what cannot be sent replaced: NaN and infinities by null, lone surrogates by question marks."""
    if isinstance(value, dict):
        return {as_text(key, 200): as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return as_text(value, len(value)) if isinstance(value, str) else value


def as_text(value: object, limit: int = 2000) -> str:
    """Text that UTF-8 can encode, cut after `limit` characters."""
    return str(value)[:limit].encode("utf-8", "replace").decode()


def as_text_or_none(value: object) -> str | None:
    """The first 200 characters of a text that UTF-8 can encode; None for a value that is no text."""
    return as_text(value, 200) if isinstance(value, str) else None


def as_series(values: np.ndarray) -> list[float | None]:
    """The numbers of an array as one flat list, None where they are not finite."""
    row = np.asarray(values, dtype=np.float64).ravel()
    return [number if math.isfinite(number) else None for number in row.tolist()]


def is_number(value: object) -> bool:
    """Whether a value is an int or a float; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(value: object) -> float | None:
    """A number as float; None for any other value."""
    return float(value) if is_number(value) else None


def as_count(value: object) -> int | None:
    """A number as int, its fraction cut off; None for any other value."""
    return int(value) if is_number(value) else None


def flatten(value: object, prefix: str = "") -> dict:
    """A nested mapping as one of dotted names, {"a": {"b": 1}} → {"a.b": 1}; the first FLAT_LIMIT names."""
    if not isinstance(value, dict):
        plain = value is None or isinstance(value, str | int | float | bool)
        return {prefix[:-1]: value if plain else as_text(value, 300)} if prefix else {}
    found: dict = {}
    for name, item in value.items():
        if len(found) >= FLAT_LIMIT:
            break
        found |= flatten(item, f"{prefix}{as_text(name, 100)}.")
    return found


def sort_by(items: list, key: Callable, order: str) -> list:
    """Sorted by a key, order "asc" or "desc"; items whose key is None come last either way."""
    known = sorted((item for item in items if key(item) is not None), key=key, reverse=order == "desc")
    return known + [item for item in items if key(item) is None]
