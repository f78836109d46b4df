"""The runner's rules: what passes, what fails and how it says so."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from leulo.cli import run as leulo
from leulo.pkt.outcome import Mode, Outcome, Status
from leulo.pkt.report import Result, as_json, as_junit, summary, text_of
from leulo.pkt.runner import run_text

SERVER = """\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32768 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.1 < . 1:1(0) ack 1 win 32768
+0 accept(3, ..., ...) = 4
"""


def run(rest: str, **mode: object) -> Outcome:
    return run_text(SERVER + rest, Mode(**mode))  # type: ignore[arg-type]


def test_a_script_passes() -> None:
    outcome = run("+0 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 1\n")
    assert (outcome.status, outcome.line) == (Status.PASSED, None)
    assert outcome.duration_ns == 100_000_000


@pytest.mark.parametrize(
    ("line", "difference"),
    [
        ("+0 > . 1:101(100) ack 1", "flags"),
        ("+0 > P. 1:100(99) ack 1", "length"),
        ("+0 > P. 2:102(100) ack 1", "sequence number"),
        ("+0 > P. 1:101(100) ack 2", "acknowledgement number"),
        ("+0 > P. 1:101(100) ack 1 win 5", "window"),
        ("+0 > P. 1:101(100) ack 1 <nop,nop,sackOK>", "options"),
        ("+0 > [ce] P. 1:101(100) ack 1", "ECN"),
        ("+0 > [ttl 3] P. 1:101(100) ack 1", "TTL"),
        ("+0 > udp (100)", "protocol"),
    ],
)
def test_a_packet_that_differs_is_shown(line: str, difference: str) -> None:
    outcome = run(f"+0 write(4, ..., 100) = 100\n{line}\n")
    assert outcome.status is Status.FAILED
    assert outcome.line == 9
    assert difference in outcome.actual
    assert "P. 1:101(100) ack 1" in outcome.actual
    assert any("write() = 100" in event for event in outcome.history)


def test_a_packet_that_does_not_come() -> None:
    outcome = run("+0 > . 1:1(0) ack 1\n")
    assert outcome.status is Status.FAILED
    assert "nothing until" in outcome.actual


def test_times_are_held() -> None:
    data = "+0 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 1\n"
    again = "> P. 1:101(100) ack 1\n"
    assert run(data + "+.3 " + again).status is Status.PASSED
    assert run(data + "+.25~+.35 " + again).status is Status.PASSED
    assert run(data + "* " + again).status is Status.PASSED
    assert run(data + "0.4 " + again).status is Status.PASSED
    assert run(data + "+.2 " + again).status is Status.FAILED
    assert run(data + "+.4 " + again).status is Status.FAILED
    assert run_text("--tolerance_usecs=150000\n" + SERVER + data + "+.2 " + again).status is (
        Status.PASSED
    )


@pytest.mark.parametrize(
    ("option", "line", "status"),
    [
        ("packet", "+0 > P. 1:101(100) ack 2\n", Status.PASSED),
        ("syscall", "+0 > P. 1:101(100) ack 2\n", Status.FAILED),
        ("packet,syscall", "+0 read(4, ..., 1) = 7\n", Status.PASSED),
        ("packet", "+0 read(4, ..., 1) = 7\n", Status.FAILED),
        ("syscall", "+0 %{ assert 0 }%\n", Status.FAILED),
        ("everything", "", Status.ERROR),
    ],
)
def test_what_is_not_fatal_ends_no_script(option: str, line: str, status: Status) -> None:
    text = SERVER.replace("accept(3, ..., ...) = 4", "accept4(3, ..., ..., SOCK_NONBLOCK) = 4")
    text += "+0 write(4, ..., 100) = 100\n" + line
    assert run_text(f"--non_fatal={option}\n" + text).status is status


def test_tolerance_grows_with_the_wait() -> None:
    """As packetdrill has it: an eighth of the time since the event before, not on FreeBSD."""
    late = SERVER + "+0 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 1\n"
    late += "+{} > P. 1:101(100) ack 1\n"
    exact = Mode(options=(("tolerance_percent", "0"),))
    assert run_text(late.format(".32")).status is Status.PASSED
    assert run_text(late.format(".38")).status is Status.FAILED
    assert run_text(late.format(".32"), exact).status is Status.FAILED
    assert run_text("--preset=freebsd\n" + late.format(".32")).status is Status.FAILED
    assert run_text("--tolerance_percent=-1\n" + SERVER).status is Status.ERROR


def test_a_blocking_call_has_the_same_tolerance() -> None:
    text = SERVER + "+0...1.1 read(4, ..., 10) = 10\n+1 < P. 1:11(10) ack 1 win 32768\n"
    assert run_text(text).status is Status.PASSED
    exact = Mode(options=(("tolerance_percent", "0"),))
    assert run_text(text, exact).status is Status.FAILED


def test_sockets_of_ipv6_speak_ipv4() -> None:
    """--ip_version=ipv4-mapped-ipv6, as suites run their scripts a third time."""
    mode = Mode(options=(("ip_version", "ipv4-mapped-ipv6"),))
    assert run_text(SERVER, mode).status is Status.PASSED
    text = """0 socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP) = 3
+0 connect(3, {sa_family=AF_INET6, sin_port=htons(80),
               sin_addr=inet_addr("::ffff:192.0.2.1")}, 28) = 0
"""
    waiting = run_text(text, mode)
    assert waiting.status is Status.FAILED and waiting.actual == "the call blocks"
    opening = text.replace("+0 connect", "+0...0.1 connect") + (
        "+0 > S 0:0(0) <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>\n"
        "+.1 < S. 0:0(0) ack 1 win 100\n+0 > . 1:1(0) ack 1\n"
    )
    assert run_text(opening, mode).status is Status.PASSED
    assert run_text(opening).status is Status.REFUSED


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("grep ' 0A ' /proc/net/tcp /proc/net/tcp6 | grep ':1F90'", Status.PASSED),
        ("grep -q ' 01 ' /proc/net/tcp", Status.PASSED),
        ("grep ' 06 ' /proc/net/tcp", Status.FAILED),
        ("grep ' 0A ' /proc/net/tcp6", Status.FAILED),
        ("grep -v ' 0A ' /proc/net/tcp | grep -c '010200C0:'", Status.PASSED),
        ("ss -4 -n | grep 192.168.0.1:8080 > /dev/null", Status.PASSED),
        ("ss -n state LISTENING | grep 0.0.0.0:8080", Status.PASSED),
        ("ss -ltn | grep -c ESTAB", Status.FAILED),
        ("ss -6 -n | grep 8080", Status.FAILED),
        ("ss -tn --info '( sport = :8080 )' src 192.168.0.1/32 | grep ESTAB", Status.PASSED),
        ("ss -tn dport = :8080 | grep ESTAB", Status.FAILED),
        ("ss -tn dst 192.0.2.0/24 | grep ESTAB", Status.PASSED),
        ("ss -tn dst 192.0.3.0/24 | grep ESTAB", Status.FAILED),
        ("ss --kill", Status.REFUSED),
        ("ss state BAD", Status.REFUSED),
        ("ss sport gt :1", Status.REFUSED),
        ("ss src host", Status.REFUSED),
    ],
)
def test_the_table_of_connections_can_be_asked(command: str, status: Status) -> None:
    assert run_text(SERVER + f"+0 `{command}`\n").status is status


def test_one_line_stands_for_several_segments() -> None:
    data = "+0 write(4, ..., 2500) = 2500\n"
    assert run(data + "+0 > P. 1:2501(2500) ack 1\n").status is Status.PASSED
    parts = "+0 > . 1:2001(2000) ack 1\n+0 > P. 2001:2501(500) ack 1\n"
    assert run(data + parts).status is Status.PASSED
    assert run(data + "+0 > P. 1:3001(3000) ack 1\n").status is Status.FAILED


def test_what_fits_one_segment_is_one_unless_relaxed() -> None:
    data = (
        "+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0\n"
        "+0 write(4, ..., 100) = 100\n+0 write(4, ..., 100) = 100\n"
        "+0 > P. 1:201(200) ack 1\n"
    )
    assert run(data).status is Status.FAILED
    assert run(data, is_relaxed=True).status is Status.PASSED


def test_relaxed_allows_what_no_peer_acts_upon() -> None:
    data = "+0 write(4, ..., 100) = 100\n"
    for line in ("> . 1:101(100) ack 1", "> P. 1:101(100) ack 1 win 7"):
        assert run(f"{data}+0 {line}\n").status is Status.FAILED
        assert run(f"{data}+0 {line}\n", is_relaxed=True).status is Status.PASSED
    assert run(data + "+0 > P. 1:101(100) ack 2\n", is_relaxed=True).status is Status.FAILED


@pytest.mark.parametrize(
    ("line", "actual"),
    [
        ("+0 write(4, ..., 100) = 99", "write() = 100"),
        ("+0 read(9, ..., 100) = 0", "-1 EBADF"),
        ("+0 getsockopt(4, SOL_TCP, TCP_NODELAY, [1], [4]) = 0", "[0]"),
        ("+0 read(4, ..., 100) = 0", "blocks"),
        ("+0 %{ assert tcpi_state == TCP_LISTEN, 5 }%", "tcpi_state = 1 (5)"),
        ("+0...0.2 read(4, ..., 9) = 9\n+.3 < P. 1:10(9) ack 1 win 9", "returns at 0.400"),
    ],
)
def test_calls_and_snippets_are_judged(line: str, actual: str) -> None:
    outcome = run(line + "\n")
    assert outcome.status is Status.FAILED
    assert actual in outcome.actual


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("`sysctl net.ipv4.tcp_fish=3`\n" + SERVER, "tcp_fish=3"),
        ("`ip route add 192.0.2.1 via 192.168.0.2 dev tun0 quickack 1`\n" + SERVER, "quickack"),
        (SERVER + "+0 `grep 0A /proc/net/udp`\n", "command"),
        (SERVER + "+0 `grep 0[AB] /proc/net/tcp`\n", "0[AB]"),
        (
            SERVER
            + "+0 epoll_create(1) = 5\n+0 epoll_ctl(5, EPOLL_CTL_ADD, 5, {events=1, fd=5}) = 0\n",
            "epoll set in another",
        ),
        ("`iptables -F`\n" + SERVER, "iptables"),
        ("`nstat | grep TcpFoo`\n" + SERVER, "nstat"),
        ("--udp_encaps=1\n" + SERVER, "--udp_encaps"),
        ("`ip route add 192.0.2.1 dev tun0 mtu lock 6`\n" + SERVER, "an MTU of 6"),
        ("`ip link set dev tun0 mtu 99999`\n" + SERVER, "an MTU of 99999"),
        ("`ifconfig tun0 mtu 99999`\n" + SERVER, "an MTU of 99999"),
        (
            "`sysctl net.ipv4.tcp_fastopen_key=aaaaaaaaaa-1-2-3`\n" + SERVER,
            "tcp_fastopen_key=aaaaaaaaaa",
        ),
        (SERVER + "+0 < [udplite(9, 8)] icmp unreachable host_unreachable\n", "udplite"),
        (SERVER + "+0 < [1:1(0)/udp(1 > 2)] icmp unreachable host_unreachable\n", "TCP in UDP"),
        (SERVER + "+0 splice(4, 0, 5, 0, 1, 0) = 1\n", "splice with an offset"),
        (
            SERVER + "+0 pipe([5, 6]) = 0\n+0 splice(5, NULL, 6, NULL, 1, 0) = 1\n",
            "splice between pipes",
        ),
        (SERVER + "+0 pipe([5, 6]) = 0\n+0 read(5, ..., 1) = 1\n", "read of a pipe"),
        (SERVER + "+0 setsockopt(4, SOL_TCP, TCP_FISH, [1], 4) = 0\n", "TCP_FISH"),
        (SERVER + "+0 setsockopt(4, SOL_TCP, TCP_TX_DELAY, [1], 4) = 0\n", "TCP_TX_DELAY"),
        (SERVER + "+0 getsockopt(4, SOL_TCP, TCP_REPAIR, [0], [4]) = 0\n", "TCP_REPAIR"),
        (SERVER + "+0 %{ import os }%\n", "Import"),
        (SERVER + "+0 %{ assert ().__class__ }%\n", "__class__"),
        (SERVER + "+0 %{ assert tcpi_fish == 1 }%\n", "tcpi_fish"),
        (SERVER + "+0 %{ x = open('/etc/passwd') }%\n", "open"),
    ],
)
def test_what_is_not_there_is_refused_by_name(text: str, what: str) -> None:
    outcome = run_text(text)
    assert outcome.status is Status.REFUSED
    assert what in outcome.actual


@pytest.mark.parametrize(
    "bomb",
    [
        "'a' * 999999999",
        "'%999999999d' % 1",
        "9 ** 9 ** 9",
        "1 << 10 ** 9",
        "'{:999999999}'.format(1)",
        "str(1) * 999999999",
    ],
)
def test_snippets_cannot_take_all_memory(bomb: str) -> None:
    assert run(f"+0 %{{ x = {bomb} }}%\n").status in (Status.REFUSED, Status.ERROR)


def test_snippets_of_python_2_and_variables() -> None:
    outcome = run('+0 %{ x = tcpi_snd_cwnd }%\n+0 %{ print "cwnd", x }%\n+0 %{ assert x == 10 }%\n')
    assert outcome.status is Status.PASSED


def test_a_route_becomes_configuration() -> None:
    text = "`ip route add 192.0.2.1 via 192.168.0.2 dev tun0 initcwnd 3 rto_min 50ms`\n" + SERVER
    text += "+0 write(4, ..., 9000) = 9000\n+0 > P. 1:3001(3000) ack 1\n"
    text += "+.15 > . 1:1001(1000) ack 1\n"
    assert run_text(text.replace("+.1 <", "+.05 <")).status is Status.PASSED
    short = text.replace("ip route add", "ip ro c")
    assert run_text(short.replace("+.1 <", "+.05 <")).status is Status.PASSED
    six = text.replace("ip route", "ip -6 route").replace("1460", "1440")
    assert run_text("--ip_version=ipv6\n" + six.replace("+.1 <", "+.05 <")).status is Status.PASSED


def test_sysctls_become_configuration() -> None:
    text = "`sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0\n../common/defaults.sh`\n"
    syn = (
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fcntl(3, F_SETFL, O_NONBLOCK) = 0\n"
        "+0 connect(3, ..., ...) = -1 EINPROGRESS\n"
    )
    shown = "+0 > S 0:0(0) <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 8>\n"
    assert run_text(text + syn + shown).status is Status.PASSED
    text = "`set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0 /proc/sys/net/ipv4/tcp_timestamps=0`\n"
    assert run_text(text + syn + "+0 > S 0:0(0) <mss 1460,nop,wscale 7>\n").status is Status.PASSED


def test_the_payload_is_checked() -> None:
    """Every octet has its place in the stream, so a read of other bytes would be seen."""
    text = "+0 < P. 1:101(100) ack 1 win 9\n+0 read(4, ..., 10) = 10\n+0 read(4, ..., 90) = 90\n"
    assert run(text).status is Status.PASSED
    # The peer's own numbers begin anew: the same octets are other data.
    assert run("+0 < P. 1:101(100) ack 1 win 9\n+0 recv(4, ..., 100, MSG_PEEK) = 100\n").status is (
        Status.PASSED
    )


def test_the_same_script_gives_the_same_run() -> None:
    text = SERVER + "+0 write(4, ..., 100) = 100\n+0 > S 7:7(0)\n"
    assert run_text(text) == run_text(text)


def test_reports() -> None:
    failed = Result("a/b.pkt", run("+0 write(4, ..., 1) = 2\n"), 0.01)
    refused = Result("c.pkt", run_text("--udp_encaps=1\n" + SERVER), 0.01)
    broken = Result("d.pkt", run_text("nonsense"), 0.01)
    passed = Result("e.pkt", run_text(SERVER), 0.01)
    results = [failed, refused, broken, passed]
    plain = json.loads(as_json(results))["results"]
    assert [r["status"] for r in plain] == ["failed", "refused", "error", "passed"]
    assert [set(r) for r in plain] == [{"file", "status", "line", "expected", "actual"}] * 4
    assert plain[3] == {"file": "e.pkt", "status": "passed", "line": None, "expected": None,
                        "actual": None}  # fmt: skip
    suite = ElementTree.fromstring(as_junit(results))
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    shown = text_of(failed)
    assert "a/b.pkt:8" in shown
    assert "expected: write(4, ..., 1) = 2" in shown
    assert "accept() = 4" in shown
    assert summary(results).startswith("4 scripts: 1 passed, 1 failed, 1 refused, 1 error")


def test_command_runs_directories_and_never_stops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "bad.pkt").write_bytes(b"\xff\xfe\x00 not a script")
    (tmp_path / "sub" / "good.pkt").write_text(SERVER)
    (tmp_path / "readme.txt").write_text("no script")
    (tmp_path / "directory.pkt").mkdir()
    (tmp_path / "gone.pkt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.pkt")
    json_file = tmp_path / "out.json"
    junit = tmp_path / "out.xml"
    status = leulo(["pkt", str(tmp_path), "--json", str(json_file), "--junit", str(junit)])
    assert status == 1
    results = json.loads(json_file.read_text())["results"]
    assert [(Path(r["file"]).name, r["status"]) for r in results] == [
        ("gone.pkt", "error"),
        ("pipe.pkt", "error"),
        ("bad.pkt", "error"),
        ("good.pkt", "passed"),
    ]
    assert ElementTree.parse(junit).getroot().get("tests") == "4"
    assert "4 scripts: 1 passed, 3 error" in capsys.readouterr().out
    assert leulo(["pkt", str(tmp_path / "sub" / "good.pkt")]) == 0


def test_command_json_on_standard_output_is_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "good.pkt"
    path.write_text(SERVER)
    for words in (["--json", str(path)], [str(path), "--json"], ["--json", "-", str(path)]):
        assert leulo(["pkt", *words]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["results"][0]["status"] == "passed"
        assert "1 passed" in said.err


def test_command_writes_json_to_a_file_in_each_of_its_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "good.pkt"
    path.write_text(SERVER)
    file = tmp_path / "out.json"
    for words in ([f"--json={file}"], ["--json", str(file)], ["--json-file", str(file)]):
        assert leulo(["pkt", *words, str(path)]) == 0
        assert json.loads(file.read_text())["results"][0]["status"] == "passed"
        assert "1 passed" in capsys.readouterr().out
        file.unlink()


def test_a_script_on_standard_input_reports_in_json_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SERVER.encode())))
    assert leulo(["pkt", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["file"] == "-"


def test_one_report_can_be_on_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "good.pkt"
    path.write_text(SERVER)
    assert leulo(["pkt", "--json", "--junit", "-", str(path)]) == 2
    assert leulo(["pkt", "--json", "--json=-", str(path)]) == 2


def test_command_passes_options_and_definitions_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "six.pkt"
    path.write_text(SERVER.replace("1460", "SIZE"))
    assert leulo(["pkt", "-D", "SIZE=1440", "--option", "ip_version=ipv6", str(path)]) == 0
    assert leulo(["pkt", "-D", "SIZE=1440", str(path)]) == 1
    assert leulo(["pkt", "-D", "5=6", str(path)]) == 2
    path.write_text(SERVER.replace("<mss 1000>", "<mss 1000,nop,wscale 7>").replace(
        "<mss 1460>", "<mss 1460,nop,wscale 8>"))  # fmt: skip
    assert leulo(["pkt", "--init-script", "./defaults.sh", str(path)]) == 0
    assert leulo(["pkt", str(path)]) == 1
    assert "wscale" in capsys.readouterr().out


def test_a_path_that_is_not_there_ends_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.pkt"
    good.write_text(SERVER)
    assert leulo(["pkt", "--json", "-", str(tmp_path / "none.pkt"), str(good)]) == 1
    results = json.loads(capsys.readouterr().out)["results"]
    assert [result["status"] for result in results] == ["error", "passed"]
    assert "No such file" in results[0]["actual"]


def test_command_reads_files_and_standard_input_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody might never write into a FIFO."""
    os.mkfifo(tmp_path / "pipe.pkt")
    assert leulo(["pkt", str(tmp_path / "pipe.pkt")]) == 1
    assert "not a regular file" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SERVER.encode())))
    assert leulo(["pkt", "-"]) == 0
    assert "1 passed" in capsys.readouterr().out


def test_command_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leulo(["pkt", str(tmp_path)]) == 2
    assert leulo(["pkt"]) == 2
    assert leulo(["pkt", "--preset", "fish", str(tmp_path)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_auto_takes_the_preset_that_a_script_speaks_of() -> None:
    """A script that names FreeBSD's things is run with its defaults, any other with Linux's."""
    auto = Mode()
    for text in (
        "0 `sysctl -w net.inet.tcp.rfc1323=1`",
        "+0 > S 0:0(0) win 65535 <mss 1460,nop,wscale 6,sackOK,TS val 100 ecr 0>",
        "+0 %{ assert tcpi_state == TCPI_SYN_RECEIVED }%",
        "+0 getsockopt(3, SOL_SOCKET, SO_RCVBUF, [65536], [4]) = 0",
        "+.1 `sockstat -4 -P tcp -s | grep -c TIME_WAIT | grep 1`",
        "// FreeBSD still acknowledges data, and discards it.",
        "// from https://example.org/freebsd-net/suite",
    ):
        assert auto.preset_for(text) == "freebsd", text
    for text in (
        "0 `sysctl -q net.ipv4.tcp_timestamps=0`",
        "+0 > S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>",
        "+0 %{ assert tcpi_options == TCPI_OPT_TIMESTAMPS }%",
        "#ifdef FreeBSD",
    ):
        assert auto.preset_for(text) == "linux", text
    for path in ("tests/bsd/tcp/close.pkt", "FreeBSD/close.pkt"):
        assert auto.preset_for("+0 < . 1:1(0) ack 1 win 1", path) == "freebsd", path
    for path in ("tests/linux/tcp/close.pkt", "tests/bsd.pkt", "close.pkt"):
        assert auto.preset_for("+0 < . 1:1(0) ack 1 win 1", path) == "linux", path
    assert auto.preset_for("--preset=rfc\n", "bsd/close.pkt") == "rfc"
    assert Mode(preset="rfc").preset_for("net.inet.") == "rfc"
    assert auto.preset_for("// why\n--preset=rfc\n0 `sysctl -w net.inet.tcp.sack=1`") == "rfc"


def test_an_unknown_preset_of_a_script_is_an_error() -> None:
    outcome = run_text("--preset=minix\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n")
    assert outcome.status is Status.ERROR
    assert "linux, freebsd, rfc" in outcome.actual


@pytest.mark.parametrize(
    ("pattern", "status"), [("SYN_SENT", Status.PASSED), ("LISTEN", Status.FAILED)]
)
def test_sockstat_asks_the_stack(pattern: str, status: Status) -> None:
    """A pipeline that finds nothing fails, as it would in a shell."""
    outcome = run_text(
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n"
        "+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n"
        "+0 connect(3, ..., ...) = -1 EINPROGRESS\n"
        f"+.1 `sockstat -4 -P tcp -s -p 8080 | grep {pattern}`\n"
    )
    assert outcome.status is status


def test_sockstat_executes_nothing() -> None:
    for command in ("sockstat -4 | sh", "sockstat -4 -P udp", "tcpdrop x"):
        assert run_text(f"0 `{command}`\n").status is Status.REFUSED, command


def test_a_congestion_control_that_is_not_there_is_refused_by_name() -> None:
    """Another one in its place would judge something else, in silence."""
    outcome = run_text("`sysctl -q net.ipv4.tcp_congestion_control=vegas`\n")
    assert outcome.status is Status.REFUSED
    assert "tcp_congestion_control=vegas" in outcome.actual


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("`dd if=/dev/urandom of=/tmp/x bs=1 count=5`\n", "dd"),
        ("`dd if=/dev/zero of=/tmp/x bs=1k count=5`\n", "dd"),
        (SERVER + '+0 open("/etc/passwd", O_RDONLY) = 5\n', "no dd"),
        (SERVER + "+0 `nstat | cat`\n", "cat"),
        (SERVER + "+0 `nstat -j | grep TcpRetransSegs`\n", "nstat"),
    ],
)
def test_files_and_counters_that_are_not_there_are_refused(text: str, what: str) -> None:
    outcome = run_text(text)
    assert outcome.status is Status.REFUSED, outcome
    assert what in outcome.actual


def test_segments_of_a_larger_one_have_the_size_that_the_script_says() -> None:
    text = SERVER + "+0 < P. 1:5001(5000) ack 1 win 1000\n*  > . 1:1(0) ack 5001\n"
    text += "+0 %{ assert tcpi_rcv_mss == 900, tcpi_rcv_mss }%\n"
    assert run_text("--mss=900\n" + text).status is Status.PASSED
    assert run_text(text).status is Status.FAILED
    assert run_text("--mss=-1\n" + text).status is Status.ERROR
