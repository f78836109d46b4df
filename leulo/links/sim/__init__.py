"""The simulated wire, ``--net sim:OPTIONS``: a network that exists only in the host's clock.

`spec` reads the options, `chance` decides which frames get lost, `wire` is one direction,
`client` sends HTTP requests from the far end and `response` checks what comes back; `link` joins
them to a stack of the far end's own. Same options, same seed, same clock: the same frames.
"""

from __future__ import annotations

from leulo.links.context import LinkContext
from leulo.links.sim.link import SimLink
from leulo.links.sim.spec import SimSpec

__all__ = ["SimLink", "SimSpec", "open_sim"]


def open_sim(options: str, context: LinkContext) -> SimLink:
    """The link that ``options`` describe. Raises ConfigError."""
    return SimLink(SimSpec.parse(options), context)
