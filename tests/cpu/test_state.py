"""Saving and loading the CPU; RDTSC; CPUID; many CPUs in one process.

Protects: snapshots that continue as if nothing had been, hostile snapshot data, the guest's
clock, features that we do not emulate, and the memory of a process that makes many machines.
"""

from __future__ import annotations

import copy
import gc
import time
from typing import Any

import pytest
from guest_images import BASE, Guest, Image, Recorder
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.clock import RealClock, VirtualClock
from leulo.cpu import TSC_HZ, Cpu, Exit, selftest
from leulo.cpu.cpuid import FEATURES_1_ECX, FEATURES_1_EDX, NX
from leulo.cpu.delivery import Deliverer
from leulo.memory import Memory

FOREVER = 1 << 40


def test_load_continues_as_if_nothing_had_been() -> None:
    image = Image("timer")

    def go(guest: Guest, budget: int) -> None:
        guest.ports.on_write = lambda *_: None
        while budget > 0:
            before = guest.cpu.ticks
            if guest.cpu.run(min(budget, 5000)) is Exit.HALT:
                return
            guest.cpu.post(0x20)
            budget -= guest.cpu.ticks - before

    first = Guest(image.code)
    go(first, 123_456)
    state, ram = first.cpu.save(), bytes(first.memory.view)
    go(first, 200_000)

    second = Guest(image.code)
    second.cpu.run(70_000)  # it has code and translations of its own
    second.memory.write(0, ram)
    second.cpu.load(copy.deepcopy(state))
    assert second.cpu.save() == state
    go(second, 200_000)
    assert second.cpu.save() == first.cpu.save()
    assert bytes(second.memory.view) == bytes(first.memory.view)
    assert second.cpu.ticks == first.cpu.ticks


@pytest.mark.parametrize("deliverer", ["native", "portable"])
def test_a_watch_goes_on_wherever_it_was_saved(deliverer: Deliverer) -> None:
    """Also between the access that matched and the block of its own that it is repeated in: there
    as many ticks are spent as without a cut."""
    memory = Memory(0x10000)
    selftest.prepare(memory)

    def new() -> Cpu:
        cpu = Cpu(memory, Recorder(), Recorder(), deliverer=deliverer)
        cpu.reset(selftest.WATCHING, 0, 0)
        return cpu

    whole = new()
    assert whole.run(FOREVER) is Exit.HALT
    assert whole.registers.edx == 1
    ticks, counter = whole.ticks, memory.read(0x4000, 4)
    whole.close()
    memory.write(0x4000, bytes(4))
    cpu = new()
    cuts = 0
    while cpu.run(1) is not Exit.HALT:
        state = copy.deepcopy(cpu.save())
        cpu.close()
        cpu = new()
        cpu.load(state)
        cuts += 1
    assert cuts > 2
    assert (cpu.registers.edx, cpu.ticks, memory.read(0x4000, 4)) == (1, ticks, counter)
    cpu.close()


def test_save_has_x87_sse_flags_and_direction() -> None:
    # finit; fld1; fldpi; fadd st1; enable SSE; movd xmm3,esp...; std; stc; hlt
    code = "dbe3 d9e8 d9eb d8c1 0f20e0 0d00020000 0f22e0 b878563412 660f6ed8 0f28e3 fd f9 f4"
    first = Guest(code)
    assert first.cpu.run(FOREVER) is Exit.HALT
    state = first.cpu.save()
    # continue: fadd st1; fstp qword [0x200000]; movups [0x200010],xmm4; pushf; pop eax; hlt
    more = bytes.fromhex("d8c1 dd1d00002000 0f112510002000 9c 58 f4".replace(" ", ""))
    results = []
    for fresh in (False, True):
        guest = Guest(code) if fresh else first
        guest.memory.write(0x1000, more)
        guest.cpu.load(state)
        guest.cpu.registers.eip = 0x1000
        guest.cpu.post(None)
        state_now = guest.cpu.save()
        guest.cpu.load({**state_now, "halted": False})
        assert guest.cpu.run(FOREVER) is Exit.HALT
        results.append((bytes(guest.memory.view[0x200000:0x200020]), guest.cpu.registers.eax))
    assert results[0] == results[1]
    assert results[0][1] & 0x401 == 0x401
    assert results[0][0][16:20] == bytes.fromhex("78563412")


def test_save_keeps_an_offered_interrupt_and_its_acknowledge() -> None:
    guest = Guest("f4")
    guest.cpu.run(FOREVER)
    guest.cpu.post(0x2A)
    state = guest.cpu.save()
    assert (state["offered"], state["halted"], state["taken"]) == (0x2A, True, False)
    other = Guest("f4")
    other.cpu.load(state)
    assert other.cpu.halted
    assert other.cpu.save() == state


def test_load_moves_breakpoints_of_debug_registers() -> None:
    image = Image("exceptions")
    guest = Guest(image.code)
    state = guest.cpu.save()
    registers = state["registers"]
    registers["dr0"], registers["dr7"] = BASE + 2, 1
    fresh = Guest("90 90 90 f4")
    fresh.cpu.load({**state, "registers": {**registers, "eip": BASE, "esp": BASE}})
    assert fresh.cpu.run(FOREVER) is Exit.SHUTDOWN  # no IDT: #DB, then #DF
    assert fresh.cpu.shutdown is not None
    assert fresh.cpu.shutdown.chain[0].eip == BASE + 2
    assert fresh.cpu.shutdown.chain[0].vector in (1, 13)
    fresh.cpu.reset(BASE, 0, 0)
    assert fresh.cpu.run(FOREVER) is Exit.HALT, "a reset takes them away"


JUNK = st.one_of(
    st.none(), st.integers(), st.binary(max_size=600), st.text(max_size=5), st.just([]),
    st.integers(0, (1 << 64) - 1),
)  # fmt: skip


@given(st.data())
@settings(max_examples=60)
def test_load_of_damaged_data_is_refused_or_harmless(data: Any) -> None:
    guest = SHARED
    state = copy.deepcopy(CLEAN)
    registers = state["registers"]
    for _ in range(data.draw(st.integers(1, 6))):
        name = data.draw(st.sampled_from(sorted(registers)))
        kind = registers[name]
        if isinstance(kind, bytes) and data.draw(st.booleans()):
            registers[name] = data.draw(st.binary(min_size=len(kind), max_size=len(kind)))
        elif data.draw(st.booleans()):
            registers[name] = data.draw(st.integers(0, 0xFFFFFFFF))
        else:
            registers[name] = data.draw(JUNK)
    try:
        guest.cpu.load(state)
    except ValueError:
        return
    guest.cpu.run(300)
    guest.cpu.save()


SHARED = Guest("d9e8 0f28c1 cd80 ebfe")
CLEAN = SHARED.cpu.save()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 1),
        ("ticks", -1),
        ("ticks", 1 << 60),
        ("offered", 256),
        ("tsc_offset_ns", 1 << 64),
    ],
)
def test_load_names_what_is_wrong(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name if name != "offered" else "offered vector"):
        SHARED.cpu.load({**CLEAN, name: value})


# ---------------------------------------------------------------- RDTSC

# rdtsc; mov esi,eax; mov edi,edx; out; jmp 1f; 1: rdtsc; hlt
RDTSC = "0f31 89c6 89d7 e610 eb00 0f31 f4"


def test_rdtsc_reads_the_virtual_clock() -> None:
    clock = VirtualClock(3, 7)
    guest = Guest(RDTSC, clock=clock)
    clock.drive(lambda: guest.cpu.ticks)
    clock.charge(5_000_000_000)
    assert guest.cpu.run(FOREVER) is Exit.HALT
    registers = guest.cpu.registers
    assert registers.edi << 32 | registers.esi == 10 * 3 // 7 + 5_000_000_000
    assert registers.edx << 32 | registers.eax == clock.now_ns()


def test_rdtsc_follows_charges_and_skips_from_the_next_run_on() -> None:
    clock = VirtualClock(1, 4)
    guest = Guest(RDTSC, clock=clock)
    clock.drive(lambda: guest.cpu.ticks)

    def charge(*_: int) -> None:
        clock.charge(1000)
        guest.cpu.limit(0)

    guest.ports.on_write = charge
    assert guest.cpu.run(FOREVER) is Exit.BUDGET
    clock.skip_to(50_000)
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert guest.cpu.registers.eax == clock.now_ns()
    assert clock.now_ns() >= 50_000


def test_rdtsc_reads_a_real_clock() -> None:
    clock = RealClock(time.monotonic_ns)
    time.sleep(0.002)
    guest = Guest(RDTSC, clock=clock)
    before = clock.now_ns()
    assert guest.cpu.run(FOREVER) is Exit.HALT
    registers = guest.cpu.registers
    read = registers.edi << 32 | registers.esi
    assert before <= read <= (registers.edx << 32 | registers.eax) <= clock.now_ns()
    assert TSC_HZ == 1_000_000_000


def test_tsc_offset_is_added() -> None:
    guest = Guest(RDTSC)
    guest.cpu.load({**guest.cpu.save(), "tsc_offset_ns": 1 << 40})
    guest.cpu.run(FOREVER)
    registers = guest.cpu.registers
    assert registers.edi << 32 | registers.esi == (1 << 40) + 10


@pytest.mark.parametrize(("num", "den"), [(1 << 40, 1), (1, 1 << 40)])
def test_absurd_ratio_of_time_is_refused(num: int, den: int) -> None:
    with pytest.raises(ValueError, match="ns per tick"):
        Guest("f4", clock=VirtualClock(num, den))


# ---------------------------------------------------------------- features


def cpuid(leaf: int) -> tuple[int, int, int, int]:
    guest = Guest("0fa2 f4")
    guest.cpu.registers.eax = leaf
    assert guest.cpu.run(FOREVER) is Exit.HALT
    r = guest.cpu.registers
    return r.eax, r.ebx, r.ecx, r.edx


def test_cpuid_has_what_we_emulate_and_nothing_else() -> None:
    assert cpuid(0)[0] == 1
    _, _, ecx, edx = cpuid(1)
    assert (hex(ecx), hex(edx)) == (hex(FEATURES_1_ECX), hex(FEATURES_1_EDX))
    assert edx & (1 << 9 | 1 << 11 | 1 << 12) == 0, "no APIC, SEP, MTRR"
    assert ecx & (1 << 26 | 1 << 27) == 0, "no XSAVE"
    highest = cpuid(0x80000000)[0]
    assert highest == 0x80000008
    _, _, extended_ecx, extended_edx = cpuid(0x80000001)
    assert extended_edx & NX
    assert extended_edx & (1 << 29 | 1 << 27 | 1 << 11) == 0, "no long mode, RDTSCP, SYSCALL"
    assert extended_ecx & 4 == 0, "no SVM"
    brand = b"".join(
        word.to_bytes(4, "little") for leaf in (2, 3, 4) for word in cpuid(0x80000000 + leaf)
    )
    assert brand.rstrip(b"\0") == b"Leulo virtual CPU"


@pytest.mark.parametrize(
    "code",
    ["0f01f9", "0f01d0", "0fc7f0", "0f01c8", "0f01d8", "0fae20", "f30fb8c1", "660f3a0ac100"],
    ids=["rdtscp", "xgetbv", "rdrand", "monitor", "vmrun", "xsave", "popcnt", "roundss"],
)
def test_hidden_feature_is_an_invalid_opcode(code: str) -> None:
    guest = Guest("0f20e0 0d00020000 0f22e0" + code)
    assert guest.cpu.run(FOREVER) is Exit.SHUTDOWN
    assert guest.cpu.shutdown is not None
    assert guest.cpu.shutdown.chain[0].vector in (6, 13)
    assert guest.cpu.shutdown.chain[0].eip == BASE + 11


def test_long_mode_cannot_be_entered() -> None:
    # mov ecx,EFER; mov eax,0x1901 (LME, SCE, NXE, SVME); xor edx,edx; wrmsr; rdmsr; hlt
    guest = Guest("b9800000c0 b801190000 31d2 0f30 0f32 f4")
    assert guest.cpu.run(FOREVER) is Exit.HALT
    assert guest.cpu.registers.eax == 0x800


# ---------------------------------------------------------------- many


def resident_pages() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])


def mappings() -> int:
    with open("/proc/self/maps") as file:
        return len(file.readlines())


@pytest.mark.parametrize("how", ["closed", "collected"])
def test_two_hundred_cpus_come_and_go_without_growth(how: str) -> None:
    def one() -> None:
        guest = Guest("b964000000 e610 49 75fb f4", ram_bytes=2 << 20)
        assert guest.cpu.run(FOREVER) is Exit.HALT
        if how == "closed":
            guest.cpu.close()

    for _ in range(20):
        one()
    gc.collect()
    before, maps = resident_pages(), mappings()
    for _ in range(200):
        one()
    gc.collect()
    assert (resident_pages() - before) * 4096 < 8 << 20
    assert mappings() - maps < 20
