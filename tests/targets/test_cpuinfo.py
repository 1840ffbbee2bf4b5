import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.targets.cpuinfo import (
    Cpu,
    clock_quantity,
    llvm_target,
    operations_per_cycle,
    parse_cpuinfo,
    read_cpu,
    split_cores,
)

NEHALEM = frozenset({"sse4_1", "sse4_2", "popcnt"})
HASWELL = NEHALEM | {"avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe", "pclmulqdq"}
SKYLAKE = HASWELL | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "adx"}


@pytest.mark.parametrize(
    ("flags", "mcpu"),
    [
        (SKYLAKE | {"avx512_vnni"}, "cascadelake"),
        (SKYLAKE, "skylake-avx512"),
        (SKYLAKE - {"avx512bw"}, "haswell"),
        (HASWELL, "haswell"),
        (HASWELL - {"fma"}, "sandybridge"),
        (NEHALEM, "nehalem"),
        (frozenset(), "x86-64"),
    ],
)
def test_the_llvm_name_asks_for_no_more_than_the_flags(flags: frozenset[str], mcpu: str) -> None:
    assert llvm_target("x86_64", flags) == {"mtriple": "x86_64-linux-gnu", "mcpu": mcpu}


def test_vnni_without_avx512_is_an_attribute() -> None:
    assert llvm_target("x86_64", HASWELL | {"avx_vnni"})["mattr"] == ("+avxvnni",)


def test_arm_features_become_attributes() -> None:
    assert llvm_target("aarch64", frozenset({"fp", "asimd", "asimddp"})) == {
        "mtriple": "aarch64-linux-gnu",
        "mcpu": "generic",
        "mattr": ("+neon", "+dotprod"),
    }


def test_another_machine_gets_generic_code_and_a_scalar_peak() -> None:
    assert llvm_target("ppc64le", frozenset()) == {
        "mtriple": "ppc64le-linux-gnu",
        "mcpu": "generic",
    }
    assert operations_per_cycle("riscv64", frozenset())["float32"][0] == 2


ALL_X86 = sorted(SKYLAKE | {"avx512_vnni", "avx_vnni", "aes"})


@settings(max_examples=200, deadline=None, derandomize=True)
@given(masked=st.sets(st.sampled_from(ALL_X86)))
def test_a_hypervisor_that_masks_features_gets_no_code_that_uses_them(masked: set[str]) -> None:
    from edgeweave.runtime.cpu_features import present_features
    from edgeweave.targets.cpu.features import needed_features

    flags = frozenset(ALL_X86) - masked
    target = llvm_target("x86_64", flags)
    needed = needed_features(
        str(target["mtriple"]), str(target["mcpu"]), tuple(target.get("mattr", ()))
    )
    assert set(needed) <= present_features(f"flags : {' '.join(flags)}", "x86_64")


@pytest.mark.parametrize("flags", [{"asimd"}, {"asimd", "asimddp"}, {"asimd", "asimdhp", "fphp"}])
def test_arm_code_uses_no_more_than_the_machine_has(flags: set[str]) -> None:
    from edgeweave.runtime.cpu_features import present_features
    from edgeweave.targets.cpu.features import needed_features

    target = llvm_target("aarch64", frozenset(flags))
    needed = needed_features(str(target["mtriple"]), str(target["mcpu"]), tuple(target["mattr"]))
    assert set(needed) <= present_features(f"Features : {' '.join(flags)}", "aarch64")


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", {"avx512f", "avx512_vnni"}, {"float32": 64, "int8": 256}),
        ("x86_64", {"avx512f"}, {"float32": 64, "int8": 85}),
        ("x86_64", {"avx2", "fma", "avx_vnni"}, {"float32": 32, "int8": 128}),
        ("x86_64", {"avx2", "fma"}, {"float32": 32, "int8": 42}),
        ("x86_64", {"avx"}, {"float32": 16}),
        ("x86_64", set(), {"float32": 8}),
        ("aarch64", {"asimd"}, {"float32": 16, "int8": 32}),
        (
            "aarch64",
            {"asimd", "asimdhp", "asimddp"},
            {"float32": 16, "float16": 32, "int8": 64},
        ),
    ],
)
def test_operations_per_cycle_follow_the_instruction_set_and_say_what_is_assumed(
    machine: str, flags: set[str], expected: dict[str, int]
) -> None:
    found = operations_per_cycle(machine, frozenset(flags))
    assert {precision: count for precision, (count, _) in found.items()} == expected
    assert all("assumed" in how for _, how in found.values())


def test_cpuinfo_of_an_x86_machine_is_read() -> None:
    text = "processor\t: 0\nmodel name\t: A CPU @ 2.50GHz\nflags\t\t: sse avx2\ncpu MHz\t: 2499.9\n"
    assert parse_cpuinfo(text) == ("A CPU @ 2.50GHz", frozenset({"sse", "avx2"}), 2499.9)


def test_cpuinfo_of_an_arm_machine_is_read() -> None:
    text = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n"
    assert parse_cpuinfo(text) == ("0x41 0xd03", frozenset({"fp", "asimd"}), None)


def test_cpuinfo_that_says_nothing_is_an_unknown_cpu() -> None:
    assert parse_cpuinfo("cpu MHz : fast\n") == ("unknown CPU", frozenset(), None)


def cpu(clock_mhz: float | None = 2500.0, cores: tuple[int, ...] = (0, 1)) -> Cpu:
    return Cpu("x86_64", "m", frozenset({"avx"}), cores, 2, clock_mhz, "a file", 1.0, 4096)


def test_a_clock_that_nobody_tells_is_marked_unsourced() -> None:
    assert not clock_quantity(cpu(None)).is_sourced
    assert clock_quantity(cpu()).value == 2.5
    assert clock_quantity(cpu()).origin == "a file"


def test_other_cores_are_another_identity() -> None:
    assert cpu().identity == cpu().identity
    assert cpu().identity != cpu(cores=(0, 2)).identity


@pytest.mark.parametrize(
    ("cores", "groups"),
    [
        ((3,), ((3,),)),
        ((0, 1), ((0,), (1,))),
        ((0, 1, 2), ((0, 1), (2,))),
        ((0, 4, 1, 5), ((0, 4), (1, 5))),
    ],
)
def test_cores_are_split_in_halves(
    cores: tuple[int, ...], groups: tuple[tuple[int, ...], ...]
) -> None:
    assert split_cores(cores) == groups


def test_this_machine_is_described() -> None:
    found = read_cpu()
    assert found.cores
    assert 1 <= found.physical <= len(found.cores)
    assert found.identity == read_cpu().identity
