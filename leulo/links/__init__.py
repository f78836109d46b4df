"""The only network I/O of the program: frames between the host's switch and some network.

`open_link` opens the one that ``--net`` names. The contract of all of them is
`leulo.links.base.Link`; the code of a link is imported only when it is asked for.
"""

from __future__ import annotations

from leulo.errors import ConfigError
from leulo.links.base import Link
from leulo.links.context import LinkContext

__all__ = ["Link", "LinkContext", "open_link"]


def open_link(spec: str, context: LinkContext) -> Link:
    """Open ``user``, ``tap:NAME``, ``sim:OPTIONS`` or ``none``.

    Raises ConfigError for a wrong ``spec``, EnvironmentProblem if this computer will not let us.
    """
    kind, _, argument = spec.partition(":")
    if kind == "tap":
        from leulo.links.tap import open_tap

        return open_tap(argument, context)
    if kind == "user" and not argument:
        from leulo.links.user import open_user

        return open_user(context)
    if kind == "sim":
        from leulo.links.sim import open_sim

        return open_sim(argument, context)
    if kind == "none" and not argument:
        from leulo.links.none import NoneLink

        return NoneLink(context.mtu)
    raise ConfigError(f"--net {spec}: is not a network: write user, tap:NAME, sim:OPTIONS or none")
