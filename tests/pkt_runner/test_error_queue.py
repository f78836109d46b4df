"""What recvmsg tells beside the data: the error queue, and how much is still to be read."""

from __future__ import annotations

import pytest

from leulo.pkt.outcome import Mode, Outcome, Status
from leulo.pkt.runner import run_text

SERVER = """\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_ZEROCOPY, [1], 4) = 0
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32768 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.1 < . 1:1(0) ack 1 win 32768
+0 accept(3, ..., ...) = 4
"""
ZEROCOPY = """\
+0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 0}], msg_flags=MSG_ERRQUEUE, msg_control=[
  {cmsg_level=SOL_IP, cmsg_type=IP_RECVERR, cmsg_data={ee_errno=0,
   ee_origin=SO_EE_ORIGIN_ZEROCOPY, ee_type=0, ee_code=SO_EE_CODE_ZEROCOPY_COPIED,
   ee_info=LOW, ee_data=HIGH}}]}, MSG_ERRQUEUE) = 0
"""


def run(rest: str) -> Outcome:
    return run_text(SERVER + rest)


def zerocopy(low: int, high: int) -> str:
    return ZEROCOPY.replace("LOW", str(low)).replace("HIGH", str(high))


SENT_TWICE = """\
+0 send(4, ..., 10, MSG_ZEROCOPY) = 10
+0 > P. 1:11(10) ack 1
+0 < . 1:1(0) ack 11 win 32768
+0 send(4, ..., 10, MSG_ZEROCOPY) = 10
+0 > P. 11:21(10) ack 1
"""
NOTHING = "+0 recvmsg(4, {msg_iov(1)=[{..., 0}]}, MSG_ERRQUEUE) = -1 EAGAIN\n"


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (zerocopy(0, 0), Status.PASSED),
        (zerocopy(0, 1), Status.FAILED),
        (zerocopy(0, 0) + NOTHING, Status.PASSED),
        (zerocopy(0, 0) + zerocopy(1, 1), Status.FAILED),
        ("+0 < . 1:1(0) ack 21 win 32768\n" + zerocopy(0, 1) + NOTHING, Status.PASSED),
        (zerocopy(0, 0) + "+0 < . 1:1(0) ack 21 win 32768\n" + zerocopy(1, 1), Status.PASSED),
    ],
)
def test_zerocopy_is_given_back_when_acknowledged(rest: str, status: Status) -> None:
    """Not before, calls in a row as one range."""
    outcome = run(SENT_TWICE + rest)
    assert outcome.status is status, outcome


def test_zerocopy_without_the_option_tells_nothing() -> None:
    script = SENT_TWICE.replace("+0 send", "+0 setsockopt(4, SOL_SOCKET, SO_ZEROCOPY, [0], 4) = 0\n"
                                "+0 send", 1)  # fmt: skip
    assert run(script + NOTHING).status is Status.PASSED


STAMPED = """\
+0 setsockopt(4, SOL_SOCKET, SO_TIMESTAMPING, [SOF_TIMESTAMPING_TX_SOFTWARE |
   SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID], 4) = 0
+0 write(4, ..., 11000) = 11000
+0 > P. 1:10001(10000) ack 1
+.1 < . 1:1(0) ack 10001 win 32768
+0 > P. 10001:11001(1000) ack 1
+.1 < . 1:1(0) ack 11001 win 32768
"""
STAMP = """\
+0 recvmsg(4, {msg_iov(1)=[{..., 0}], msg_flags=MSG_ERRQUEUE|MSG_TRUNC, msg_control=[
  {cmsg_level=SOL_SOCKET, cmsg_type=SCM_TIMESTAMPING, cmsg_data={scm_sec=0, scm_nsec=AT}},
  {cmsg_level=SOL_IP, cmsg_type=IP_RECVERR, cmsg_data={ee_errno=ENOMSG,
   ee_origin=SO_EE_ORIGIN_TIMESTAMPING, ee_type=0, ee_code=0, ee_info=KIND, ee_data=10999}}]},
   MSG_ERRQUEUE) = 0
"""


def test_timestamps_of_the_last_byte_sent_and_acknowledged() -> None:
    sent = STAMP.replace("AT", "200000000").replace("KIND", "SCM_TSTAMP_SND")
    acknowledged = STAMP.replace("AT", "300000000").replace("KIND", "SCM_TSTAMP_ACK")
    assert run(STAMPED + sent + acknowledged + NOTHING).status is Status.PASSED
    assert run(STAMPED + sent.replace("2000", "1900")).status is Status.FAILED
    assert run(STAMPED + acknowledged).status is Status.FAILED


@pytest.mark.parametrize(("left", "status"), [(90, Status.PASSED), (80, Status.FAILED)])
def test_inq_tells_what_is_left(left: int, status: Status) -> None:
    script = f"""\
+0 setsockopt(4, SOL_TCP, TCP_INQ, [1], 4) = 0
+0 < P. 1:101(100) ack 1 win 32768
+0 > . 1:1(0) ack 101
+0 recvmsg(4, {{msg_iov(1)=[{{..., 10}}], msg_flags=0, msg_control=[
   {{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data={left}}}]}}, 0) = 10
"""
    assert run(script).status is status


def test_a_stamp_that_is_not_known_is_refused() -> None:
    outcome = run(
        "+0 setsockopt(4, SOL_SOCKET, SO_TIMESTAMPING, [SOF_TIMESTAMPING_TX_HARDWARE], 4) = 0"
    )
    assert outcome.status is Status.REFUSED


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_the_level_of_a_notice_is_that_of_the_address(version: str) -> None:
    """Under the names that suites define for either family."""
    named = (
        zerocopy(0, 0).replace("SOL_IP", "CMSG_LEVEL_IP").replace("IP_RECVERR", "CMSG_TYPE_RECVERR")
    )
    mode = Mode(options=(("ip_version", version), ("mtu", "1520" if version == "ipv6" else "1500")))
    outcome = run_text(SERVER + SENT_TWICE + named, mode)
    assert outcome.status is Status.PASSED, outcome


@pytest.mark.parametrize("version", ["ipv4", "ipv6", "ipv4-mapped-ipv6"])
def test_notices_are_named_by_the_sockets_family(version: str) -> None:
    """CMSG_LEVEL_IP and CMSG_TYPE_RECVERR, as suites leave them to who runs their scripts."""
    notice = zerocopy(0, 0).replace("=SOL_IP,", "=CMSG_LEVEL_IP,")
    notice = notice.replace("=IP_RECVERR,", "=CMSG_TYPE_RECVERR,")
    text = (SERVER + SENT_TWICE + notice).replace("<mss 1460>", "<...>")
    outcome = run_text(text, Mode(options=(("ip_version", version),)))
    assert outcome.status is Status.PASSED, outcome
    assert run_text(f"--ip_version={version}\n" + text).status is Status.PASSED
