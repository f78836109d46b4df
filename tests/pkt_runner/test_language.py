"""The parser reads every form of every dialect, and says what it cannot read."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.net.wire.tcp import ACK, AE, CWR, ECE, PSH, SYN
from leulo.pkt.lexer import Refused, ScriptError, without_comments
from leulo.pkt.option_lists import parse_options, wire_bytes
from leulo.pkt.parser import parse
from leulo.pkt.syntax import (
    Array,
    Call,
    Code,
    Command,
    IcmpLine,
    Name,
    Or,
    Struct,
    TcpLine,
    Text,
    UdpLine,
    When,
)

SOCKET = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n"


def tcp(text: str) -> TcpLine:
    action = parse(SOCKET + text).events[-1].action
    assert isinstance(action, TcpLine)
    return action


def call(text: str) -> Call:
    action = parse(text).events[-1].action
    assert isinstance(action, Call)
    return action


@pytest.mark.parametrize(
    ("text", "kind", "start_ms", "end_ms"),
    [
        ("0.5", When.ABSOLUTE, 500, 0),
        (".5", When.ABSOLUTE, 500, 0),
        ("3", When.ABSOLUTE, 3000, 0),
        ("+.25", When.RELATIVE, 250, 0),
        ("+ 1", When.RELATIVE, 1000, 0),
        ("*", When.ANY, 0, 0),
        ("1~2", When.ABSOLUTE_RANGE, 1000, 2000),
        ("+.2~+.3", When.RELATIVE_RANGE, 200, 300),
        ("+.2 ~ +.3", When.RELATIVE_RANGE, 200, 300),
    ],
)
def test_every_form_of_time(text: str, kind: When, start_ms: int, end_ms: int) -> None:
    time = parse(f"{SOCKET}{text} > . 1:1(0) ack 1").events[-1].time
    assert (time.kind, time.start_ns, time.end_ns) == (kind, start_ms * 10**6, end_ms * 10**6)


@pytest.mark.parametrize("text", ["+0...0.3 read(3, ..., 1) = 1", "+.1 ... 0.3 read(3, ..., 1) = 1",
                                  "0.1...0.3 read(3, ..., 1) = 1"])  # fmt: skip
def test_blocking_calls_have_an_end(text: str) -> None:
    assert call(text).end_ns == 300_000_000


@pytest.mark.parametrize(
    ("flags", "bits"),
    [("S", SYN), ("S.", SYN | ACK), (".", ACK), ("-", 0), ("P.", PSH | ACK),
     ("SEWA", SYN | ECE | CWR | AE), ("5.", AE | ECE | ACK), ("P5.", PSH | AE | ECE | ACK),
     ("P.5", PSH | AE | ECE | ACK), ("0.", ACK), ("EAP.", ECE | AE | PSH | ACK)],
)  # fmt: skip
def test_every_form_of_flags(flags: str, bits: int) -> None:
    assert tcp(f"+0 < {flags} 1:1(0) ack 1 win 1").flags == bits


def test_sequence_numbers_may_be_absolute_or_any() -> None:
    assert tcp("+0 > R 77:77(0)!").is_absolute
    assert tcp("+0 > S. ...(0) ack 1").seq is None
    assert tcp("+0 < . 5:15(10) ack 1 win 9 urg 3").urgent == 3


def test_ports_and_annotations() -> None:
    line = tcp("+0 < [ect0,ttl 9] 40001 > 8080 . 1:1(0) ack 1 win 9")
    assert (line.ports, line.ip.ecn, line.ip.ttl) == ((40001, 8080), 2, 9)
    assert tcp("+0 > (tos 0x3) . 1:1(0) ack 1").ip.ecn == 3
    assert tcp("+0 > (class 0x28) . 1:1(0) ack 1").ip.dscp == 10
    assert tcp("+0 >[noecn] . 1:1(0) ack 1").ip.ecn == 0
    assert tcp("+0 > [ect01] . 1:1(0) ack 1").ip.is_ect01
    assert tcp("+0 > [dscp 0x10, ecn ce] . 1:1(0) ack 1").ip.dscp == 16


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("mss 1460", "020405b4"),
        ("wscale 7", "030307"),
        ("sackOK", "0402"),
        ("nop", "01"),
        ("eol", "00"),
        ("sack 1:2 3:4", "051200000001000000020000000300000004"),
        ("TS val 1 ecr 2", "080a0000000100000002"),
        ("TS val ... ecr 0", "080a0000000000000000"),
        ("FO", "2202"),
        ("FO abcd", "2204abcd"),
        ("FOEXP abcd", "fe06f989abcd"),
        ("md5 00112233445566778899aabbccddeeff", "131200112233445566778899aabbccddeeff"),
        ("ECN e1b 1 ceb 0 e0b 1", "ae0b000001000000000001"),
        ("ECN e0b 1 ceb 0 e1b 1", "ac0b000001000000000001"),
        ("AccECN1 ee1b 1", "ae05000001"),
        ("exp-AccECN0", "fe04acc0"),
        ("exp-tarr 5", "fe0600ac00a0"),
    ],
)
def test_every_kind_of_option(text: str, wire: str) -> None:
    options = parse_options(text, 1)
    assert options is not None
    assert wire_bytes(options[0]).hex() == wire


def test_any_options() -> None:
    assert parse_options(" ... ", 1) is None
    assert tcp("+0 > S 0:0(0) <...>").options is None
    assert tcp("+0 > . 1:1(0) ack 1").options == []


@pytest.mark.parametrize(
    "text",
    [
        "mss 70000",
        "wscale 256",
        "TS val 1",
        "sack 1",
        "FO abc",
        "fish 3",
        "TS val 4294967296 ecr 0",
    ],
)
def test_bad_options_are_errors(text: str) -> None:
    with pytest.raises(ScriptError):
        parse_options(text, 7)


def test_icmp_and_udp_lines() -> None:
    line = parse(SOCKET + "+0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]").events[1]
    assert isinstance(line.action, IcmpLine)
    assert (line.action.mtu, line.action.seq, line.action.length) == (1200, 1, 1460)
    line = parse(SOCKET + "+0 < [1:11(10)] icmp unreachable frag_needed mtu 1500").events[1]
    assert isinstance(line.action, IcmpLine)
    assert line.action.length == 10
    line = parse(SOCKET + "+0 > udp 53 > 999 (100)").events[1]
    assert isinstance(line.action, UdpLine)
    assert (line.action.length, line.action.ports) == (100, (53, 999))


def test_arguments() -> None:
    arguments = call(
        '0 f(0x10, -1, A|B|4, "a\\"b" "c", [1, 2], {onoff=1, linger=0}, ...) = 0'
    ).arguments
    assert arguments[0] == 16
    assert arguments[1] == -1
    assert arguments[2] == Or([Name("A"), Name("B"), 4])
    assert arguments[3] == Text(b'a"bc')
    assert arguments[4] == Array([1, 2])
    assert arguments[5] == Struct({"onoff": 1, "linger": 0})


def test_results_with_errno_and_notes() -> None:
    result = call("0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)")
    assert (result.result, result.errno_name) == (-1, "EINPROGRESS")
    assert call("0 fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)").result == 2


def test_commands_snippets_options_and_comments() -> None:
    script = parse(
        "// a `comment`\n--ip_version=ipv4\n--define=X=5 /* two\nlines */\n# a third\n"
        "`./defaults.sh\nsysctl -q a=1`\n" + SOCKET + "+0 %{ assert 1 // 1 == 1 }%\n`rm x`\n"
    )
    kinds = [type(event.action) for event in script.events]
    assert kinds == [Command, Call, Code, Command]
    assert script.options == [("ip_version", "ipv4"), ("define", "X=5")]
    assert script.events[1].line == 8


def test_definitions_replace_words() -> None:
    script = parse("--define=N=1000\n" + SOCKET + "+0 write(3, ..., N) = N\n")
    action = script.events[-1].action
    assert isinstance(action, Call)
    assert action.arguments[2] == 1000
    assert parse(SOCKET + "+0 read(3, ..., M) = 1", (), {"M": "7"}).events[1].line == 2


def test_conditionals_choose() -> None:
    text = SOCKET + "#ifdef A\n+0 a() = 0\n#else\n+0 b() = 0\n#endif\n+0 c() = 0\n"
    names = [e.action.name for e in parse(text, ["A"]).events if isinstance(e.action, Call)]
    assert names == ["socket", "a", "c"]
    names = [e.action.name for e in parse(text).events if isinstance(e.action, Call)]
    assert names == ["socket", "b", "c"]
    with pytest.raises(ScriptError, match="without #endif"):
        parse(SOCKET + "#ifdef A\n")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "no events"),
        ("0 socket(", 1, "expected a value"),
        (SOCKET + "\n+0 < Z 0:0(0) win 1", 3, "no TCP flag Z"),
        (SOCKET + "+0 < S 0:5(0) win 1", 2, "do not fit"),
        (SOCKET + "+0 < S 0:0(0) win 70000", 2, "window is larger"),
        (SOCKET + "+0 < S 0:0(0) win 1 <...>", 2, "of the stack only"),
        (SOCKET + "+0~+1 read(3, ..., 1) = 1", 2, "packets of the stack only"),
        (SOCKET + "+2~+1 > . 1:1(0) ack 1", 2, "backwards"),
        (SOCKET + "+0 nonsense", 2, "expected a packet"),
        (SOCKET + "+0 f(((((((((((((((((((((1)", 2, "nested too deeply"),
    ],
)
def test_errors_name_the_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ScriptError, match=says) as caught:
        parse(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("+0 > sctp: INIT[flgs=0]", "sctp"),
        ("+0 < gre: ipv4 1.1.1.1 > 2.2.2.2: . 1:1(0) ack 1 win 1", "encapsulation"),
        ("+0 > S 0:0(0) <mss 1460,mpcapable v1 flags[flag_h]>", "MPTCP"),
        ("+0 < P. 1:21(20) ack 1 win 257 {rep tcp seq_num 0x1}", "mutated"),
        ("+0 > S 0:0(0) <FO TFO_COOKIE>", "TFO_COOKIE"),
    ],
)
def test_what_is_not_done_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        parse(SOCKET + text)


def test_comments_keep_lines_and_strings() -> None:
    text = '0 f("//no") = 0 // yes\n/* a\nb */ `#no`'
    assert without_comments(text).count("\n") == text.count("\n")
    assert '"//no"' in without_comments(text)
    assert "`#no`" in without_comments(text)
    assert "yes" not in without_comments(text)


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet=string.printable, max_size=200)
    | st.lists(
        st.sampled_from(["0 ", "+0 ", "* ", "< ", "> ", "S", ".", " 0:0(0)", " ack 1", " win 5",
                         "<", "mss 1", ">", "f(", ")", "...", " = ", "-1", "\n", "`", '"', "%{",
                         "}%", "{", "}", "[", "]", "|", "icmp ", "udp (", "TS val 1 ecr 2",
                         "--a=b\n"]),
        max_size=60,
    ).map("".join)
)  # fmt: skip
def test_any_text_is_a_script_or_an_error(text: str) -> None:
    """Whatever a file holds: a tree or one of the two exceptions, never another."""
    with contextlib.suppress(ScriptError, Refused):
        parse(text)


@pytest.mark.parametrize(
    ("argument", "what"),
    [
        ("{ (label 1, tc 0, [S], ttl 64) }", "MPLS"),
        ("{ flags [none], sum 0, off 0, key = 1, seq 0 }", "GRE"),
        ("{ flags 0x0, sum 0, off 0, key 1, seq 0 }", "GRE"),
    ],
)
def test_headers_as_arguments_are_refused_by_name(argument: str, what: str) -> None:
    with pytest.raises(Refused, match=what):
        parse(SOCKET + f"+0 send(3, {argument}, 4, 0) = 4\n")


def test_a_field_may_stand_without_braces() -> None:
    arguments = call(SOCKET + "+0 getsockopt(3, 1, 2, size=4|8, [4]) = 0\n").arguments
    assert arguments[3] == Struct({"size": Or([4, 8])})
