"""``md5 valid`` and ``md5 invalid``: what a script's signatures are, and what is wrong with one."""

from __future__ import annotations

import pytest

from leulo.pkt import signatures
from leulo.pkt.outcome import Outcome, Status
from leulo.pkt.runner import run_text
from leulo.pkt.signatures import Secrets

SERVER = """\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 setsockopt(3, IPPROTO_TCP, TCP_MD5SIG, {tcpm_key="k"}, ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32768 <nop,nop,md5 valid,mss 1460>
+0 > S. 0:0(0) ack 1 <nop,nop,md5 valid,mss 1460>
+.1 < . 1:1(0) ack 1 win 32768 <nop,nop,md5 valid>
+0 accept(3, ..., ...) = 4
+0 write(4, ..., 100) = 100
"""
PEER = bytes((192, 0, 2, 1))


def run(line: str) -> Outcome:
    return run_text(SERVER + line + "\n")


def test_a_signature_of_the_stack_is_checked() -> None:
    assert run("+0 > P. 1:101(100) ack 1 <nop,nop,md5 valid>").status is Status.PASSED
    for options in (
        "nop,nop,md5 invalid", "nop,nop,md5 00112233445566778899aabbccddeeff", "md5 valid,nop,nop"
    ):  # fmt: skip
        outcome = run(f"+0 > P. 1:101(100) ack 1 <{options}>")
        assert outcome.status is Status.FAILED, options
        assert "differs: " in outcome.actual
        assert "md5 " in outcome.actual  # it is shown as a script would write it
    assert "signature" in run("+0 > P. 1:101(100) ack 1 <nop,nop,md5 invalid>").actual


def test_another_key_is_another_signature() -> None:
    text = SERVER.replace("write(4", 'setsockopt(4, 6, 14, {tcpm_key="z"}, 216) = 0\n+0 write(4')
    line = "+0 > P. 1:101(100) ack 1 <nop,nop,md5 {}>\n"
    assert run_text(text + line.format("valid")).status is Status.PASSED
    assert run_text(text + line.format("invalid")).status is Status.FAILED


def test_without_a_key_there_is_no_valid_signature() -> None:
    outcome = run_text(SERVER.replace("+0 setsockopt", "+0 getsockopt", 1).replace("= 0", "= -1"))
    assert outcome.status is not Status.PASSED
    lines = [line for line in SERVER.splitlines() if "MD5SIG" not in line]
    outcome = run_text("\n".join(lines))
    assert (outcome.status, outcome.line) == (Status.ERROR, 4)
    assert outcome.actual == "no key has been set for 192.0.2.1 (TCP_MD5SIG)"


@pytest.mark.parametrize(
    ("structure", "status", "what"),
    [
        ("{tcpm_fish=1}", Status.REFUSED, "tcpm_fish"),
        ("{tcpm_key=5}", Status.ERROR, "tcpm_key"),
        ('{tcpm_addr=7, tcpm_key="k"}', Status.REFUSED, "address"),
        ('{tcpm_keylen=0, tcpm_key="k"}', Status.FAILED, "ENOENT"),
    ],
)
def test_what_the_structure_may_say(structure: str, status: Status, what: str) -> None:
    outcome = run_text(SERVER.replace('{tcpm_key="k"}', structure, 1))
    assert (outcome.status, outcome.line) == (status, 3)
    assert what in outcome.actual


def test_the_longest_prefix_counts_whatever_the_order() -> None:
    secrets = Secrets()
    secrets.learn(bytes((192, 0, 2, 0)), 24, b"network")
    secrets.learn(bytes(4), 0, b"all")
    assert secrets.find(PEER) == b"network"
    assert secrets.find(bytes((10, 0, 0, 1))) == b"all"
    secrets.learn(PEER, 32, b"host")
    assert secrets.find(PEER) == b"host"
    assert secrets.find(bytes(16)) == b""


def test_of_several_segments_in_one_line_each_is_checked() -> None:
    rest = "+0 write(4, ..., 2800) = 2800\n+0 > P. 101:2901(2800) ack 1 <nop,nop,md5 {}>\n"
    first = "+0 > P. 1:101(100) ack 1 <nop,nop,md5 valid>\n+.1 < . 1:1(0) ack 101 win 32768 " \
        "<nop,nop,md5 valid>\n"  # fmt: skip
    assert run_text(SERVER + first + rest.format("valid")).status is Status.PASSED
    assert run_text(SERVER + first + rest.format("invalid")).status is Status.FAILED


def test_a_signature_of_a_later_segment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is wrong in the second of two joined segments fails the line."""
    from_linux = bytes.fromhex(  # two bytes of data from 10.77.0.1 to 10.77.0.2
        "d0ba0007061da8d745b14ca2a018003f14cd00000101131252132c70814c490e89582c4452feccd96869"
    )
    ends = bytes((10, 77, 0, 1)), bytes((10, 77, 0, 2))
    assert signatures.is_signed(from_linux, *ends, b"a secret of both")
    assert not signatures.is_signed(from_linux[:-1] + b"o", *ends, b"a secret of both")
    assert not signatures.is_signed(from_linux, *ends, b"another")
    monkeypatch.setattr(signatures, "is_signed", lambda *arguments: False)
    text = SERVER.replace("4, ..., 100) = 100", "4, ..., 2800) = 2800")
    outcome = run_text(text + "+0 > P. 1:2801(2800) ack 1 <nop,nop,md5 valid>\n")
    assert outcome.status is Status.FAILED
    assert "signature of a later segment" in outcome.actual


def test_the_secret_of_the_option_is_switched_on_and_off() -> None:
    """As on FreeBSD, where TCP_MD5SIG is a flag and the key is the kernel's."""
    lines = SERVER.replace('{tcpm_key="k"}', "[1]")
    text = "--tcp_md5_secret=fish\n" + lines
    assert run_text(text + "+0 > P. 1:101(100) ack 1 <nop,nop,md5 valid>\n").status is Status.PASSED
    without = (
        text.replace("[1]", "[0]")
        .replace("nop,nop,md5 valid,", "")
        .replace("<nop,nop,md5 valid>", "")
    )
    assert run_text(without + "+0 > P. 1:101(100) ack 1\n").status is Status.PASSED
    assert run_text(lines).status is not Status.PASSED  # there is no such key


@pytest.mark.parametrize(
    ("shell", "what"),
    [
        ("kldstat -q -m x || kldload x; echo 'add a b ;\n add b a ;' | setkey -c", ""),
        ("# don't\nsysctl -w net.ipv4.tcp_sack=0 # isn't\nfish; true", "command `fish`"),
        ("sysctl -w net.ipv4.tcp_rmem='1;2'", "sysctl tcp_rmem=1;2"),
        ('echo "a;b" && fish \'c', "command `fish 'c`"),
    ],
)
def test_what_is_quoted_separates_no_commands(shell: str, what: str) -> None:
    outcome = run_text(f"0.00 `{shell}`\n+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n")
    assert outcome.actual == what
    assert outcome.status is (Status.REFUSED if what else Status.PASSED)
