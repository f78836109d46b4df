"""Runs: exact budgets, stops that are never lost, limits, errors of targets, HLT.

Protects: the clock of virtual time (ticks), Ctrl-C, and that no exception of a device is lost.
"""

from __future__ import annotations

import random
import signal
import struct
import sys
import threading
import time

import pytest
from guest_images import BASE, Guest, Recorder
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.clock import RealClock
from leulo.cpu import Cpu, Exit
from leulo.cpu.delivery import Deliverer
from leulo.errors import LeuloBug
from leulo.memory import Memory

SPIN = "eb00 41 ebfd"  # jmp 1f; 1: inc ecx; jmp 1b: a block of 2 ticks, then blocks of 3
FOREVER = 1 << 40


def test_run_stops_at_the_first_block_at_or_beyond_the_budget() -> None:
    guest = Guest(SPIN)
    assert guest.cpu.run(1) is Exit.BUDGET
    assert (guest.cpu.ticks, guest.cpu.registers.ecx) == (2, 0)
    assert guest.cpu.run(3) is Exit.BUDGET
    assert (guest.cpu.ticks, guest.cpu.registers.ecx) == (5, 1)
    assert guest.cpu.run(4) is Exit.BUDGET
    assert (guest.cpu.ticks, guest.cpu.registers.ecx) == (11, 3)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40))
@settings(max_examples=30)
def test_run_however_cut_ends_where_one_run_ends(budgets: list[int]) -> None:
    cut, whole = Guest(SPIN), Guest(SPIN)
    for budget in budgets:
        cut.cpu.run(budget)
    whole.cpu.run(cut.cpu.ticks)
    assert whole.cpu.save() == cut.cpu.save()
    cut.cpu.close()
    whole.cpu.close()


@pytest.mark.parametrize("deliverer", ["native", "portable"])
@given(st.lists(st.integers(1, 400), min_size=2, max_size=20), st.integers(0, 19))
@settings(max_examples=20)
def test_levels_counted_from_any_moment_change_nothing_else(
    deliverer: str, budgets: list[int], moment: int
) -> None:
    plain, counted = Guest(SPIN, deliverer=deliverer), Guest(SPIN, deliverer=deliverer)
    before = None
    for at, budget in enumerate(budgets):
        if at == moment % len(budgets):
            assert counted.cpu.level_ticks == {}
            counted.cpu.count_levels()
            counted.cpu.count_levels()  # again: nothing
            before = counted.cpu.ticks
        assert plain.cpu.run(budget) is counted.cpu.run(budget)
        assert plain.cpu.ticks == counted.cpu.ticks
    assert before is not None
    assert counted.cpu.level_ticks == {0: counted.cpu.ticks - before, 1: 0, 2: 0, 3: 0}
    assert plain.cpu.save() == counted.cpu.save()
    plain.cpu.close()
    counted.cpu.close()


@pytest.mark.parametrize("budget", [0, -5])
def test_run_without_a_budget_executes_nothing(budget: int) -> None:
    guest = Guest(SPIN)
    assert guest.cpu.run(budget) is Exit.BUDGET
    assert guest.cpu.ticks == 0
    assert guest.cpu.registers.eip == BASE


def test_stop_before_run_is_not_lost_and_counts_once() -> None:
    guest = Guest(SPIN)
    guest.cpu.stop()
    guest.cpu.stop()
    assert guest.cpu.run(100) is Exit.STOP
    assert guest.cpu.ticks == 0
    assert guest.cpu.run(100) is Exit.BUDGET


def test_stop_inside_an_exit_ends_the_run_at_the_next_block() -> None:
    guest = Guest("e610 41 eb00 41 ebfd")  # out 0x10,al; inc ecx; jmp 1f; 1: inc ecx; jmp 1b
    guest.ports.on_write = lambda *_: guest.cpu.stop()
    assert guest.cpu.run(FOREVER) is Exit.STOP
    assert (guest.cpu.ticks, guest.cpu.registers.ecx) == (5, 1)


def test_stop_at_a_halt_is_seen_and_the_halt_is_kept() -> None:
    guest = Guest("e610 f4")
    guest.ports.on_write = lambda *_: guest.cpu.stop()
    assert guest.cpu.run(FOREVER) is Exit.STOP
    assert guest.cpu.run(FOREVER) is Exit.HALT


def test_stop_from_another_thread_ends_a_run_of_any_length() -> None:
    guest = Guest(SPIN)
    cpu = guest.cpu
    timer = threading.Timer(0.02, cpu.stop)
    timer.start()
    assert cpu.run(1 << 60) is Exit.STOP
    timer.join()
    assert cpu.ticks > 1000


def test_stop_from_another_thread_ends_a_storm_of_faults_without_blocks() -> None:
    # The handler of #PF lies on a page that is not there: every fetch of it faults again, the
    # stack wraps around through the hole above RAM, and no block of code ever begins.
    guest = Guest(storm_of_faults(), ram_bytes=4 << 20)
    cpu = guest.cpu
    timer = threading.Timer(0.05, cpu.stop)
    timer.start()
    found = cpu.run(1 << 60)
    timer.join()
    assert found is Exit.STOP
    assert cpu.exceptions > 100


def test_storm_of_faults_uses_up_its_budget() -> None:
    guest = Guest(storm_of_faults(), ram_bytes=4 << 20)
    assert guest.cpu.run(200_000) is Exit.BUDGET
    assert 200_000 <= guest.cpu.ticks < 200_200
    assert guest.cpu.exceptions > 10_000


def storm_of_faults() -> bytes:
    """Paging with 4 MiB pages, identity, but for the page of #PF's handler at 0xC0000000."""
    code = bytearray(0x2000)
    program = bytes.fromhex(
        "0f0115 80001000"  # lgdt [0x100080]
        "0f011d 90001000"  # lidt [0x100090]
        "0f20e0 83c810 0f22e0"  # mov eax,cr4; or eax,0x10; mov cr4,eax
        "b800101000 0f22d8"  # mov eax,0x101000; mov cr3,eax
        "0f20c0 0d00000080 0f22c0"  # mov eax,cr0; or eax,0x80000000; mov cr0,eax
        "bc00000080"  # mov esp,0x80000000: in the hole, where writes are ignored
        "a1000000c0"  # mov eax,[0xc0000000]
    )
    code[: len(program)] = program
    code[0x80:0x86] = (23).to_bytes(2, "little") + (BASE + 0xA0).to_bytes(4, "little")
    code[0x90:0x96] = (0x7F).to_bytes(2, "little") + (BASE + 0x100).to_bytes(4, "little")
    for index, descriptor in enumerate((0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF)):
        struct.pack_into("<Q", code, 0xA0 + 8 * index, descriptor)
    gate = 8 << 16 | 0x8E00 << 32 | 0xC000 << 48
    struct.pack_into("<Q", code, 0x100 + 14 * 8, gate)
    for index in range(1024):
        entry = 0 if index == 0x300 else index << 22 | 0x83
        struct.pack_into("<I", code, 0x1000 + 4 * index, entry)
    return bytes(code)


def test_limit_inside_an_exit_shortens_the_run() -> None:
    guest = Guest("e610 eb00 41 ebfd")  # out; jmp: 4 ticks; then blocks of 3
    guest.ports.on_write = lambda *_: guest.cpu.limit(6)
    assert guest.cpu.run(FOREVER) is Exit.BUDGET
    assert guest.cpu.ticks == 4 + 6


def test_limit_never_lengthens_a_run() -> None:
    guest = Guest("e610 eb00 41 ebfd")
    guest.ports.on_write = lambda *_: guest.cpu.limit(1000)
    assert guest.cpu.run(10) is Exit.BUDGET
    assert guest.cpu.ticks == 10


@pytest.mark.parametrize("deliverer", ["native", "portable"])
@pytest.mark.parametrize(
    "code",
    ["e610 ebfc", "e410 ebfc", "a100009000 ebf9", "a300009000 ebf9", "f36e f4", "f36c f4"],
    ids=["out", "in", "load", "store", "rep outs", "rep ins"],
)
def test_exit_past_its_time_ends_the_run(code: str, deliverer: Deliverer) -> None:
    now_ns = 0

    def time_passes() -> int:
        nonlocal now_ns
        now_ns += 10
        return now_ns

    guest = Guest(code, clock=RealClock(time_passes), deliverer=deliverer)
    guest.cpu.registers.ecx = 1_000_000
    guest.cpu.registers.esi = guest.cpu.registers.edi = BASE + 0x1000
    exits = 0
    for _ in range(3):  # it goes on where it was
        assert guest.cpu.run(FOREVER, now_ns + 100) is Exit.BUDGET
        buses = guest.ports, guest.mmio
        so_far = sum(len(bus.reads) + len(bus.writes) for bus in buses)
        assert 1 <= so_far - exits <= 12
        exits = so_far
    assert guest.cpu.run(60) is Exit.BUDGET, "without a time only the ticks count"


def test_limit_and_post_together_keep_both() -> None:
    guest = Guest("e610 eb00 41 ebfd")

    def both(*_: int) -> None:
        guest.cpu.post(0x20)  # IF=0: it only makes the CPU look
        guest.cpu.limit(6)

    guest.ports.on_write = both
    assert guest.cpu.run(FOREVER) is Exit.BUDGET
    assert guest.cpu.ticks == 10
    assert not guest.cpu.taken()


def test_ticks_inside_an_exit_include_the_whole_block() -> None:
    guest = Guest("eb00 9090 e610 9090 f4")
    seen = []
    guest.ports.on_write = lambda *_: seen.append(guest.cpu.ticks)
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert seen == [2 + 7]
    assert guest.cpu.ticks == 9


def test_halt_returns_again_and_again_without_executing() -> None:
    guest = Guest("f4 41 ebfd")
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert guest.cpu.halted
    ticks = guest.cpu.ticks
    assert guest.cpu.run(FOREVER) is Exit.HALT
    guest.cpu.post(0x20)  # IF=0: does not wake it
    assert not guest.cpu.will_wake()
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert guest.cpu.ticks == ticks


def test_withdrawn_interrupt_is_not_taken() -> None:
    guest = Guest("f4")
    guest.cpu.run(FOREVER)
    guest.cpu.post(0x20)
    assert not guest.cpu.taken()
    guest.cpu.post(None)
    assert not guest.cpu.taken()
    assert guest.cpu.run(FOREVER) is Exit.HALT


@pytest.mark.parametrize("vector", [-1, 256])
def test_post_refuses_what_is_no_vector(vector: int) -> None:
    with pytest.raises(ValueError, match="not an interrupt vector"):
        Guest("f4").cpu.post(vector)


class Broken(Exception):
    """A device's own mistake."""


@pytest.mark.parametrize("code", ["e610 eb00 ebfe", "e410 eb00 ebfe",
                                  "a300000090 eb00 ebfe", "a100000090 eb00 ebfe"])  # fmt: skip
def test_error_in_a_target_ends_the_run_and_is_raised(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Device:
        def read(self, address: int, width: int) -> int:
            raise Broken(address)

        def write(self, address: int, width: int, value: int) -> None:
            raise Broken(address)

    memory = Memory(1 << 21)
    memory.write(BASE, bytes.fromhex(code))
    cpu = Cpu(memory, Device(), Device())
    cpu.reset(BASE, 0, 0)
    with pytest.raises(Broken) as caught:
        cpu.run(FOREVER)
    assert caught.value.args[0] in (0x10, 0x90000000)
    assert cpu.run(100) is Exit.BUDGET, "raised once, and the CPU goes on"
    assert capsys.readouterr().err == ""


def test_signal_that_raises_on_the_way_into_an_exit_is_not_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    guest = Guest("e610 ebfc")  # for ever: out

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        for delay in (0.002, 0.003, 0.005, 0.007):
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_VIRTUAL, delay)
                guest.cpu.run(FOREVER)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert "ctypes" not in capsys.readouterr().err


def test_signal_handler_that_stops_ends_the_run() -> None:
    guest = Guest("e610 ebfc")
    before = signal.signal(signal.SIGVTALRM, lambda *_: guest.cpu.stop())
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.005)
        assert guest.cpu.run(FOREVER) is Exit.STOP
    finally:
        signal.signal(signal.SIGVTALRM, before)


# 1: inc [edi]; add [edi+64],3; push ecx; call 2f; pop eax; mov ebx,1; xadd [edi+128],ebx;
# sub esi,eax; add esi,ecx; dec ecx; jnz 1b; hlt;  2: push 5; pop ebp; add edx,ebp; ret
COUNTING = (
    "b9{count} bf00003000 ba00000000"
    "ff07 83474003 51 e815000000 58 bb01000000 0fc19f80000000 29c6 01ce 49 75e0 f4"
    "6a05 5d 01ea c3"
)


def test_asynchronous_stops_execute_no_instruction_twice() -> None:
    count = 4_000_000  # long enough for many stops on a busy computer, too
    guest = Guest(COUNTING.format(count=count.to_bytes(4, "little").hex()))
    cpu = guest.cpu
    finished = threading.Event()

    def pester() -> None:
        chance = random.Random(1)
        while not finished.is_set():
            wanted = cpu.ticks + chance.randrange(1, 2000)  # let it get on between two stops
            while cpu.ticks < wanted and not finished.is_set():
                pass
            cpu.stop()

    thread = threading.Thread(target=pester)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        stops = 0
        deadline = time.monotonic() + 30
        while (found := cpu.run(FOREVER)) is Exit.STOP and time.monotonic() < deadline:
            stops += 1
    finally:
        finished.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert found is Exit.HALT
    assert stops > 10
    sums = [guest.word(0x300000 + offset) for offset in (0, 64, 128)]
    assert sums == [count, 3 * count, count]
    assert (cpu.registers.edx, cpu.registers.esi, cpu.registers.esp) == (5 * count, 0, BASE)


@pytest.mark.parametrize("code", ["ff0500000090", "0fc105 00000090", "bc04000090 50"])
def test_stop_inside_mmio_repeats_no_store(code: str) -> None:
    # inc [mmio]; xadd [mmio],eax; mov esp,mmio+4; push eax
    guest = Guest(code + " eb00 f4")
    guest.mmio.on_write = lambda *_: guest.cpu.stop()
    guest.mmio.answer = lambda *_: 41
    assert guest.cpu.run(FOREVER) is Exit.STOP
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert len(guest.mmio.writes) == 1


def test_ports_pass_width_and_value_and_take_the_answer() -> None:
    # mov eax,0x11223344; mov dx,0x5e0; out dx,al; out dx,ax; out dx,eax; in eax,dx; hlt
    guest = Guest("b844332211 66bae005 ee 66ef ef ed f4")
    guest.ports.answer = lambda port, width: 0xFEDCBA98
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert guest.ports.writes == [(0x5E0, 1, 0x44), (0x5E0, 2, 0x3344), (0x5E0, 4, 0x11223344)]
    assert guest.ports.reads == [(0x5E0, 4)]
    assert guest.cpu.registers.eax == 0xFEDCBA98


def test_port_answer_is_cut_to_its_width() -> None:
    guest = Guest("31c0 e410 f4")
    guest.ports.answer = lambda port, width: 0xFFFFFF12
    guest.cpu.run(FOREVER)
    assert guest.cpu.registers.eax == 0x12


def test_hole_above_ram_goes_to_the_mmio_bus_with_its_address() -> None:
    # mov eax,[0x9000000a]; mov [0x90000011],al; movzx ebx,word [0xfffffffe]; hlt
    guest = Guest("a10a000090 a211000090 0fb71dfeffffff f4")
    guest.mmio.answer = lambda address, width: (1 << 8 * width) - 1
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert guest.cpu.registers.eax == 0xFFFFFFFF
    assert guest.cpu.registers.ebx == 0xFFFF
    assert guest.mmio.writes == [(0x90000011, 1, 0xFF)]
    assert all(width in (1, 2, 4) for _, width in guest.mmio.reads)


def test_first_byte_above_ram_is_not_ram() -> None:
    guest = Guest("a200002000 f4", ram_bytes=0x200000)  # mov [0x200000],al
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert guest.mmio.writes == [(0x200000, 1, 0)]


def test_load_across_the_end_of_ram_reads_both_sides() -> None:
    guest = Guest("a1feff1f00 f4", ram_bytes=0x200000)  # mov eax,[0x1ffffe]
    guest.memory.write(0x1FFFFE, b"\x34\x12")
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert guest.cpu.registers.eax == 0xFFFF1234


def test_code_is_never_fetched_from_the_hole() -> None:
    guest = Guest("b800000090 ffe0")
    assert guest.cpu.run(FOREVER) is Exit.SHUTDOWN
    assert guest.cpu.shutdown is not None
    assert "no RAM" in guest.cpu.shutdown.text()
    assert guest.cpu.run(FOREVER) is Exit.SHUTDOWN, "until a reset"
    guest.cpu.reset(BASE, 0, 0)
    assert guest.cpu.shutdown is None


def test_flush_makes_rewritten_code_count() -> None:
    guest = Guest("b801000000 f4")
    guest.cpu.run(FOREVER)
    guest.memory.write(BASE + 1, b"\x02")
    guest.cpu.flush()
    guest.cpu.reset(BASE, 0, 0)
    guest.cpu.run(FOREVER)
    assert guest.cpu.registers.eax == 2


def test_address_zero_is_an_ordinary_address() -> None:
    guest = Guest("31c0 ffe0")  # xor eax,eax; jmp eax
    guest.memory.write(0, bytes.fromhex("41 f4"))
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert guest.cpu.registers.ecx == 1


def test_reset_gives_the_multiboot_state() -> None:
    guest = Guest("f4")
    cpu = guest.cpu
    cpu.reset(0x123456, 0x2BADB002, 0x9000)
    registers = cpu.registers
    assert (registers.eip, registers.eax, registers.ebx) == (0x123456, 0x2BADB002, 0x9000)
    assert registers.cr0 & 0x80000001 == 1
    assert registers.eflags & 0x20200 == 0
    for name in ("cs", "ds", "es", "fs", "gs", "ss"):
        _, base, limit, _ = registers.segment(name)
        assert (base, limit) == (0, 0xFFFFFFFF)
    assert registers.cpl == 0
    assert not cpu.halted


@pytest.mark.parametrize("what", ["run", "reset", "load", "flush", "close", "save"])
def test_exit_may_not_touch_the_running_cpu(what: str) -> None:
    guest = Guest("e610 eb00 ebfe")
    cpu = guest.cpu
    state = cpu.save()
    calls = {
        "run": lambda: cpu.run(1),
        "reset": lambda: cpu.reset(0, 0, 0),
        "load": lambda: cpu.load(state),
        "flush": cpu.flush,
        "close": cpu.close,
        "save": cpu.save,
    }
    guest.ports.on_write = lambda *_: calls[what]()
    with pytest.raises(LeuloBug, match="from inside an exit"):
        cpu.run(100)
    assert cpu.run(100) is Exit.BUDGET


def test_registers_show_themselves() -> None:
    assert "eip=0x100000" in repr(Guest("f4").cpu.registers)


def test_two_cpus_keep_apart() -> None:
    first, second = Guest(SPIN), Guest(SPIN)
    first.cpu.run(1000)
    assert second.cpu.ticks == 0
    second.cpu.run(11)
    assert (second.cpu.registers.ecx, first.cpu.registers.ecx) == (3, 333)


def test_closed_cpu_refuses_and_does_not_crash() -> None:
    cpu = Cpu(Memory(1 << 20), Recorder(), Recorder())
    cpu.close()
    cpu.close()
    with pytest.raises(ValueError):
        cpu.run(1)
    with pytest.raises(ValueError):
        cpu.save()
    with pytest.raises(ValueError):
        _ = cpu.registers.eax
