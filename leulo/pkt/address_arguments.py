"""Socket addresses as arguments of calls."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from leulo.pkt.lexer import Refused, ScriptError
from leulo.pkt.syntax import Apply, Ellipsis_, Expression, Name, Struct, Text

if TYPE_CHECKING:
    from leulo.pkt.calls import Calls


def address_of(
    calls: Calls, expression: Expression, default: tuple[bytes, int], line: int
) -> tuple[bytes, int]:
    """Address and port of a sockaddr; ``...`` is the default. Raises Refused, ScriptError."""
    if isinstance(expression, Ellipsis_):
        return default
    if not isinstance(expression, Struct):
        raise Refused(line, "this socket address")
    parts = expression.fields
    family = parts.get("sa_family", parts.get("sin_family", calls.world.family))
    calls.world.refuse_family(calls.value(family, line), line)
    port = parts.get("sin_port", parts.get("sin6_port", 0))
    number = default[1] if isinstance(port, Ellipsis_) else calls.value(port, line)
    address = parts.get("sin_addr", parts.get("sin6_addr"))
    if address is None or isinstance(address, Ellipsis_):
        return default[0], number
    if isinstance(address, Name) and address.name in ("INADDR_ANY", "in6addr_any"):
        return bytes(len(default[0])), number
    text = address.arguments[0] if isinstance(address, Apply) and address.arguments else None
    if not isinstance(text, Text):
        raise ScriptError(line, 'expected inet_addr("...") as the address')
    try:
        return ip_address(text.value.decode("latin-1")).packed, number
    except ValueError as error:
        raise ScriptError(line, str(error)) from error


def is_unspecified(expression: Expression) -> bool:
    """Is it AF_UNSPEC, by itself or as the family of an address?"""
    if isinstance(expression, Struct):
        expression = expression.fields.get("sa_family", expression)
    return isinstance(expression, Name) and expression.name == "AF_UNSPEC"
