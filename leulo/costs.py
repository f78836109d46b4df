"""What things cost in virtual time.

Code bytes are the guest's clock: ``num / den`` nanoseconds a tick. Every exit adds a charge, as
it would on a processor with hardware virtualization; Python's own speed never enters. The
defaults stand for a guest at about one instruction a nanosecond (x86 code has some 3.5 bytes an
instruction) and for an exit to a hypervisor and back of a microsecond.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Costs:
    """Nanoseconds of each thing that virtual time charges for."""

    tick_num: int = 2
    tick_den: int = 7
    port_ns: int = 1_000
    hypercall_ns: int = 1_500
