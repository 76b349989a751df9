"""Specs as plain data: to dictionaries of JSON types and back, and fields set from text by dotted keys."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import Any, TypeVar

from fer.errors import ConfigError, unknown_name

T = TypeVar("T")


def to_dict(spec: Any) -> dict[str, Any]:
    """A spec as plain JSON types (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(spec)))


def from_dict(cls: type[T], data: dict[str, Any]) -> T:
    """Inverse of `to_dict`.

    Raises:
        ConfigError: unknown key (names the nearest one) or wrong type.

    >>> from fer.specs import InputSpec
    >>> from_dict(InputSpec, {"size_px": 44}).size_px
    44
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{cls.__name__} must be an object, got {type(data).__name__}")
    hints = typing.get_type_hints(cls)
    for key in data:
        if key not in hints:
            raise unknown_name(f"key of {cls.__name__}", key, hints)
    return cls(**{k: _coerce(v, hints[k], f"{cls.__name__}.{k}") for k, v in data.items()})


def _coerce(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _coerce(value, next(a for a in args if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} must be a list, got {value!r}")
        return tuple(_coerce(v, args[0], where) for v in value)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{where} must be a finite number, got {value!r}")
        return float(value)
    if typing.get_origin(hint) is dict or hint is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be an object, got {value!r}")
        return dict(value)
    if hint is str and isinstance(value, str):
        return value
    if hint is Any:
        return value
    raise ConfigError(f"{where} must be {getattr(hint, '__name__', hint)}, got {value!r}")


def override(spec: T, *settings: tuple[str, str]) -> T:
    """A copy of a spec with fields, addressed by dotted keys, set from text; checked when all of them are set.

    Raises:
        ConfigError: unknown key (names the nearest one), index out of range or a value of the wrong type.

    >>> from fer.specs import Recipe
    >>> override(Recipe(), ("phases.0.epochs", "3"), ("augment.flip", "0")).phases[0].epochs
    3
    """
    data = to_dict(spec)
    for key, text in settings:
        node: Any = data
        *way, last = key.split(".")
        for step in way:
            node = node[_place(node, step, key)]
        where = _place(node, last, key)
        node[where] = text if isinstance(node[where], str) else parse_value(text)
    return from_dict(type(spec), data)


def _place(node: Any, step: str, key: str) -> Any:
    """The index or key that one step of a dotted key means in a dict or list."""
    if isinstance(node, list):
        if not step.isdecimal() or int(step) >= len(node):
            raise ConfigError(f"{key}: index {step!r} is out of range: there are {len(node)}, counted from 0")
        return int(step)
    if not isinstance(node, dict):
        raise ConfigError(f"{key!r} goes deeper than the value {node!r} does")
    if step not in node:
        raise unknown_name("setting", step, node)
    return step


def parse_value(text: str) -> Any:
    """A value from the command line: JSON, True/False as Python writes them, or else the text itself.

    >>> parse_value("False"), parse_value("[8, 16]"), parse_value("cosine")
    (False, [8, 16], 'cosine')
    """
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except json.JSONDecodeError:
        return text
