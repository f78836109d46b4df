"""The seam: a guest's socket calls, carried out by the hypervisor's TCP engine."""

from leulo.hypercalls.dispatch import Hypercalls
from leulo.hypercalls.limits import Limits, MachineInfo

__all__ = ["Hypercalls", "Limits", "MachineInfo"]
