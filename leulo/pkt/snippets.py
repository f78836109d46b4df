"""Snippets between ``%{`` and ``}%``: assertions in Python over TCP_INFO, evaluated safely.

A snippet sees the fields of struct tcp_info under their names, the constants of the system and
what earlier snippets of the script assigned. It may compare, compute, print and assert; whatever
could reach further (imports, attributes, loops, calls of anything but a few functions) is refused
by name before any of it runs. [Linux tcp(7)]
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable
from struct import Struct
from typing import Final

from leulo.pkt.constants import CONSTANTS
from leulo.pkt.lexer import Refused, ScriptError

_LAYOUT: Final = Struct("<8B24I4Q6I4Q2I2Q6I2H9I")
_NAMES: Final = (
    "state", "ca_state", "retransmits", "probes", "backoff", "options", "wscales", "bits",
    "rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets",
    "last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh",
    "rtt", "rttvar", "snd_ssthresh", "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space",
    "total_retrans", "pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received",
    "segs_out", "segs_in", "notsent_bytes", "min_rtt", "data_segs_in", "data_segs_out",
    "delivery_rate", "busy_time", "rwnd_limited", "sndbuf_limited", "delivered", "delivered_ce",
    "bytes_sent", "bytes_retrans", "dsack_dups", "reord_seen", "rcv_ooopack", "snd_wnd",
    "rcv_wnd", "rehash", "total_rto", "total_rto_recoveries", "total_rto_time", "received_ce",
    "delivered_e1_bytes", "delivered_e0_bytes", "delivered_ce_bytes", "received_e1_bytes",
    "received_e0_bytes", "received_ce_bytes", "accurate_ecn",
)  # fmt: skip
_PRINT2 = re.compile(r"^(\s*)print\s+(?!\()(.+?)\s*$", re.MULTILINE)
_FUNCTIONS: Final = ("abs", "min", "max", "len", "int", "str", "float", "round", "bool", "hex")
_ALLOWED: Final = (
    ast.Module, ast.Expr, ast.Assert, ast.Assign, ast.AugAssign, ast.If, ast.Pass, ast.Load,
    ast.Store, ast.Name, ast.Constant, ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp,
    ast.Tuple, ast.List, ast.Call, ast.JoinedStr, ast.FormattedValue, ast.keyword, ast.boolop,
    ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip
_UNBOUNDED: Final = (ast.Pow, ast.LShift, ast.MatMult)
_LARGE_WIDTH = re.compile(r"\d{5}|%[^%a-zA-Z]*\*|\{[^{}]*\{")  # in a format
_MAX_CHARS: Final = 20_000
_MAX_BITS: Final = 4_096

Values = dict[str, object]


class SnippetFailed(Exception):
    """An assertion does not hold: the statement, and the values it names."""

    def __init__(self, statement: str, values: str) -> None:
        super().__init__(statement)
        self.statement: str = statement
        self.values: str = values


def decode_info(data: bytes) -> Values:
    """struct tcp_info by its fields' names (``tcpi_rtt``). ``data`` may be longer or shorter."""
    padded = data[: _LAYOUT.size].ljust(_LAYOUT.size, b"\0")
    values: Values = {
        "tcpi_" + name: value for name, value in zip(_NAMES, _LAYOUT.unpack(padded), strict=True)
    }
    scales = padded[6]
    values["tcpi_snd_wscale"], values["tcpi_rcv_wscale"] = scales & 15, scales >> 4
    bits = values.pop("tcpi_accurate_ecn")
    if isinstance(bits, int):
        values["tcpi_ecn_mode"], values["tcpi_accecn_opt_seen"] = bits & 3, bits >> 2 & 3
        values["tcpi_accecn_fail_mode"] = bits >> 4 & 15
    values["tcpi_delivery_rate_app_limited"] = padded[7] & 1
    values["tcpi_fastopen_client_fail"] = padded[7] >> 1 & 3
    return values


class Snippets:
    """Runs a script's snippets one after the other in one name space."""

    def __init__(self) -> None:
        self.variables: Values = {}
        self.printed: list[str] = []

    def run(self, text: str, info: Values, line: int) -> None:
        """Raises SnippetFailed, Refused (not allowed, or an unknown name), ScriptError."""
        if len(text) > _MAX_CHARS:
            raise Refused(line, "a snippet as long as this")
        # A last line may end as if another followed.
        source = _PRINT2.sub(r"\1print(\2)", _dedented(text.rstrip().rstrip("\\")))
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ScriptError(line, f"the snippet is not Python: {error}") from error
        names: Values = {**CONSTANTS, **info, **self.variables}
        for node in ast.walk(tree):
            self._check(node, names, line)
        functions: dict[str, Callable[..., object]] = {
            name: getattr(builtins, name) for name in _FUNCTIONS
        }
        functions["print"] = self._print
        functions["_product"] = _product
        functions["_remainder"] = _remainder
        tree = ast.fix_missing_locations(_Bounded().visit(tree))
        scope: Values = {"__builtins__": functions, **names}
        for statement in tree.body:
            self._run(statement, source, scope, line)
        fixed = set(CONSTANTS) | set(info) | {"__builtins__"}
        self.variables.update({k: v for k, v in scope.items() if k not in fixed})

    def _run(self, statement: ast.stmt, source: str, scope: Values, line: int) -> None:
        code = compile(ast.Module([statement], []), "<snippet>", "exec")
        try:
            exec(code, scope)
        except AssertionError as error:
            named = sorted({n.id for n in ast.walk(statement) if isinstance(n, ast.Name)})
            values = ", ".join(
                f"{name} = {scope[name]}"
                for name in named
                if name in scope and name not in CONSTANTS
            )
            said = f" ({error.args[0]})" if error.args else ""
            said_text = source.strip() if len(source.splitlines()) == 1 else ast.unparse(statement)
            raise SnippetFailed(said_text, values + said) from None
        except Exception as error:
            raise ScriptError(line, f"the snippet fails: {error!r}") from error

    def _check(self, node: ast.AST, names: Values, line: int) -> None:
        if isinstance(node, ast.Attribute):
            if node.attr == "format" and isinstance(node.value, ast.Constant):
                return
            raise Refused(line, f"snippet with .{node.attr}")
        if not isinstance(node, _ALLOWED) or isinstance(node, _UNBOUNDED):
            raise Refused(line, f"snippet with {type(node).__name__}")
        if isinstance(node, ast.Name):
            if node.id.startswith("__"):
                raise Refused(line, f"snippet with {node.id}")
            if (
                isinstance(node.ctx, ast.Load)
                and node.id not in names
                and node.id not in (*_FUNCTIONS, "print", "True", "False", "None")
            ):
                raise Refused(line, f"snippet with {node.id}")
            if isinstance(node.ctx, ast.Store):
                names.setdefault(node.id, None)
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name | ast.Attribute):
            raise Refused(line, "snippet with a call of a value")
        if isinstance(node, ast.Constant) and _is_large_format(node.value):
            raise Refused(line, "snippet with a wide format")

    def _print(self, *values: object) -> None:
        if len(self.printed) < 1000:
            self.printed.append(" ".join(str(value) for value in values)[:1000])


class _Bounded(ast.NodeTransformer):
    """Products and remainders become calls that look at what they are given: a string times a
    number, or a format's width, could take all memory."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Mult | ast.Mod):
            return node
        name = "_product" if isinstance(node.op, ast.Mult) else "_remainder"
        function = ast.Name(name, ast.Load())
        return ast.copy_location(ast.Call(function, [node.left, node.right], []), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        value = ast.Name(node.target.id if isinstance(node.target, ast.Name) else "_", ast.Load())
        whole = ast.BinOp(value, node.op, node.value)
        assigned = ast.copy_location(ast.Assign([node.target], whole), node)
        self.generic_visit(assigned)
        return assigned


def _product(left: object, right: object) -> object:
    for value in (left, right):
        if not isinstance(value, int | float):
            raise ValueError("only numbers are multiplied")
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise ValueError("the number is too large")
    return left * right  # type: ignore[operator]


def _remainder(left: object, right: object) -> object:
    if _is_large_format(left):
        raise ValueError("the format is too wide")
    return left % right  # type: ignore[operator]


def _is_large_format(value: object) -> bool:
    return isinstance(value, str | bytes) and (
        isinstance(value, bytes) or _LARGE_WIDTH.search(value) is not None
    )


def _dedented(text: str) -> str:
    """Without the indentation that all lines behind the first share, tabs as written."""
    lines = text.strip("\n").split("\n")
    rest = [line for line in lines[1:] if line.strip()]
    indents = [len(line) - len(line.lstrip()) for line in rest]
    least = min(indents, default=0)
    if lines[0].strip() and lines[0].rstrip().endswith(":") and rest:
        least = max(0, least - 4) if least else 0
    return "\n".join([lines[0].lstrip(), *[line[least:] for line in lines[1:]]])
