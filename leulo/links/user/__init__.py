"""``--net user``: a network without privileges. A gateway inside this process ends the guest's
TCP with a second stack of ours and joins each connection to a socket of the host.
"""

from __future__ import annotations

from leulo.links.context import LinkContext
from leulo.links.user.gateway import UserLink

__all__ = ["UserLink", "open_user"]


def open_user(context: LinkContext) -> UserLink:
    """Open the gateway and every published port.

    Raises EnvironmentProblem, with a port that is free, if one can't be had; ConfigError if the
    addresses given have no place for a gateway.
    """
    return UserLink(context)
