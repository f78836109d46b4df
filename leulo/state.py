"""Saving to plain data and loading from it, by explicit field tables.

Every stateful class names its fields once; ``save()`` gives a dict of ints, strings, bytes, lists
and dicts (no pickle), ``load()`` takes it back and refuses another version.
"""

from __future__ import annotations

from typing import Any

State = dict[str, Any]


def save_fields(thing: object, version: int, names: tuple[str, ...]) -> State:
    """The named attributes of ``thing``, with the version of its table."""
    return {"version": version, **{name: getattr(thing, name) for name in names}}


def load_fields(thing: object, version: int, names: tuple[str, ...], state: State) -> None:
    """Set the named attributes of ``thing``. Raises ValueError on another version or a gap."""
    if state.get("version") != version:
        raise ValueError(
            f"{type(thing).__name__}: saved state has version {state.get('version')}, "
            f"this program reads {version}"
        )
    missing = [name for name in names if name not in state]
    if missing:
        raise ValueError(f"{type(thing).__name__}: saved state lacks {', '.join(missing)}")
    for name in names:
        setattr(thing, name, state[name])
