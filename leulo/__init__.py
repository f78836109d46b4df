"""Leulo: a hypervisor that takes TCP away from its guests.

Read ``docs/architecture.md`` first; the folder names below this one are its map.
"""

__version__ = "0.1.0"
