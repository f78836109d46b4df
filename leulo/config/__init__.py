"""Configuration: what a person wrote, checked once, as frozen dataclasses.

``model`` is the dataclasses, ``values`` reads one value, ``settings`` joins flags, ``--set`` and a
machine file into a configuration, ``written`` writes one back. Nothing here opens a file or
touches the network.
"""

from __future__ import annotations

from leulo.config.model import (
    DEFAULT_MEMORY_BYTES,
    DEFAULT_PUBLISH,
    DEFAULT_QUANTUM_NS,
    ClockKind,
    MachineConfig,
    Mode,
    NetKind,
    NetSpec,
    Protocol,
    Publish,
    Quotas,
    RunConfig,
    SerialKind,
    SerialSpec,
    format_address,
    mac_of,
)
from leulo.config.values import (
    check_together,
    parse_addresses,
    parse_addresses6,
    parse_append,
    parse_clock,
    parse_memory,
    parse_mode,
    parse_name,
    parse_net,
    parse_publish,
    parse_publishes,
    parse_serial,
    parse_time,
    require_mode,
)

__all__ = [
    "DEFAULT_MEMORY_BYTES",
    "DEFAULT_PUBLISH",
    "DEFAULT_QUANTUM_NS",
    "ClockKind",
    "MachineConfig",
    "Mode",
    "NetKind",
    "NetSpec",
    "Protocol",
    "Publish",
    "Quotas",
    "RunConfig",
    "SerialKind",
    "SerialSpec",
    "check_together",
    "format_address",
    "mac_of",
    "parse_addresses",
    "parse_addresses6",
    "parse_append",
    "parse_clock",
    "parse_memory",
    "parse_mode",
    "parse_name",
    "parse_net",
    "parse_publish",
    "parse_publishes",
    "parse_serial",
    "parse_time",
    "require_mode",
]
