"""Compile the index kernels ahead: nimad/index/native/*.so for every kind of machine we serve.

    python packaging/build_kernels.py            build all objects and their manifest
    python packaging/build_kernels.py --check    build them aside and compare with what is there

numba turns nimad/index/kernels/source.py into LLVM IR without optimising it for this machine,
llvmlite compiles that for each target, ld links it: on amd64 for arm64, too, with Debian's binutils
and binutils-aarch64-linux-gnu and without a C compiler.  The objects need nothing, neither Python
nor a C library.

The same numba, llvmlite and binutils give the same bytes.  The objects belong to the repository (54
to 132 kB each, mostly padding), because an installation from a checkout has only pip, and a build
of the package has no network.  A test compares the manifest's digest of the source with the source.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

# Before numba is imported: IR as written, so that the target's own optimiser sees whole loops.
os.environ["NUMBA_OPT"] = "0"
os.environ["NUMBA_LOOP_VECTORIZE"] = "0"

import llvmlite
import llvmlite.binding as llvm
import numba

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nimad.index.kernels.intrinsics import BLOCK, PAIRS
from nimad.index.kernels.loader import source_digest

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "nimad" / "index" / "native"

X86, ARM = "x86_64", "aarch64"
LINKERS = {X86: "ld", ARM: "aarch64-linux-gnu-ld"}


@dataclass(frozen=True)
class Target:
    """One kind of machine.

    `needs` are the features in /proc/cpuinfo that must be there, `parts` the CPU parts it is tuned
    for.  Of the objects that fit, the loader takes one tuned for the part, or the highest `rank`.
    """

    name: str
    arch: str
    cpu: str
    features: str
    needs: tuple[str, ...]
    parts: tuple[str, ...] = ()
    rank: int = 0


_V2 = ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vpopcntdq")

# A Pi 4's cortex-a72 lacks the cryptography that LLVM supposes; the kernels have no use for it.
_NO_CRYPTO = "-aes,-sha2"
TARGETS = (
    Target("x86-64-v2", X86, "x86-64-v2", "", _V2, rank=2),
    Target("x86-64-v3", X86, "x86-64-v3", "", _V3, rank=3),
    Target("x86-64-v4", X86, "x86-64-v4", "+avx512vpopcntdq,-prefer-256-bit", _V4, rank=4),
    Target("cortex-a53", ARM, "cortex-a53", _NO_CRYPTO, ("asimd",), ("0xd03",), 1),
    Target("cortex-a72", ARM, "cortex-a72", _NO_CRYPTO, ("asimd", "crc32"), ("0xd08",), 2),
    Target(
        "cortex-a76",
        ARM,
        "cortex-a76",
        _NO_CRYPTO,
        ("asimd", "crc32", "atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "dcpop", "asimddp"),
        ("0xd0b",),
        3,
    ),
)


def kernels_ir() -> str:
    """The IR of all kernels in one module: `nimad_abi`, `nimad_encode`, ..., all else internal."""
    from nimad.index.kernels.source import ABI, KERNELS, compile_kernel

    whole = llvm.parse_assembly(f"define i32 @nimad_abi() {{\n  ret i32 {ABI}\n}}\n")
    for name in KERNELS:
        compiled = compile_kernel(name)
        module = llvm.parse_assembly(compiled.inspect_llvm())
        module.get_function(compiled.native_name).name = f"nimad_{name}"
        for thing in (*module.functions, *module.global_variables):
            if not thing.is_declaration and thing.name not in (f"nimad_{name}", PAIRS):
                thing.linkage = llvm.Linkage.internal
        whole.link_in(module)
    return str(whole)


def pairs_ir(target: Target) -> str:
    """PAIRS by the instruction of x86 that multiplies 16-bit numbers and adds neighbours.

    Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, PMADDWD.
    """
    widths = (("avx512bw", 32, "avx512.pmaddw.d.512"), ("avx2", 16, "avx2.pmadd.wd"))
    width, name = next((w[1:] for w in widths if w[0] in target.needs), (8, "sse2.pmadd.wd"))
    words, sums = f"<{width} x i16>", f"<{width // 2} x i32>"
    lines, parts = [], []
    for first in range(0, BLOCK, width):
        picks = ", ".join(f"i32 {n}" for n in range(first, first + width))
        mask = f"<{width} x i32> <{picks}>"
        for each in "ab":
            whole = f"<{BLOCK} x i16> %{each}, <{BLOCK} x i16> undef"
            lines.append(f"%{each}{first} = shufflevector {whole}, {mask}")
        call = f"@llvm.x86.{name}({words} %a{first}, {words} %b{first})"
        lines.append(f"%p{first} = call {sums} {call}")
        parts.append((width // 2, f"%p{first}"))
    while len(parts) > 1:  # two at a time become one vector
        (size, one), (_, other), *parts = parts
        picks = ", ".join(f"i32 {n}" for n in range(2 * size))
        joined, kind = f"{one}.{len(parts)}", f"<{size} x i32>"
        pair = f"{kind} {one}, {kind} {other}"
        lines.append(f"{joined} = shufflevector {pair}, <{2 * size} x i32> <{picks}>")
        parts.append((2 * size, joined))
    arguments = ", ".join(f"<{BLOCK} x i16> %{each}" for each in "ab")
    body = "\n  ".join([*lines, f"ret <{BLOCK // 2} x i32> {parts[0][1]}"])
    head = f"define <{BLOCK // 2} x i32> @{PAIRS}({arguments})"
    declared = f"declare {sums} @llvm.x86.{name}({words}, {words})"
    return f"{declared}\n{head} {{\n  {body}\n}}\n"


def compile_object(ir: str, target: Target) -> bytes:
    """The relocatable object of all kernels for one target."""
    triple = f"{target.arch}-unknown-linux-gnu"
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )
    module = llvm.parse_assembly(ir)
    if target.arch == X86:
        module.link_in(llvm.parse_assembly(pairs_ir(target)))
    module.get_function(PAIRS).linkage = llvm.Linkage.internal
    module.triple = triple
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    module.verify()
    return bytes(machine.emit_object(module))


def link(obj: bytes, target: Target, into: Path) -> None:
    """Link an object into a shared one; fails when it would need a symbol from elsewhere."""
    with tempfile.TemporaryDirectory() as scratch:
        relocatable = Path(scratch, "kernels.o")
        relocatable.write_bytes(obj)
        subprocess.run(
            [
                *(LINKERS[target.arch], "-shared", "--strip-all", "--build-id=none"),
                *("--no-undefined", "--gc-sections", "-z", "noexecstack", "-z", "relro"),
                *("-z", "now", "-soname", into.name, "-o", str(into), str(relocatable)),
            ],
            check=True,
        )


def build(into: Path) -> None:
    """Write every object and `manifest.json` to a directory."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    # Otherwise a loop that writes zeros becomes a call of memset, which no library here provides.
    llvm.set_option(Path(__file__).name, "--disable-loop-idiom-all")
    ir = kernels_ir()
    into.mkdir(exist_ok=True)
    objects = []
    for target in TARGETS:
        file = into / f"{target.name}.so"
        link(compile_object(ir, target), target, file)
        file.chmod(0o644)
        objects.append({**asdict(target), "file": file.name, "digest": digest_of(file)})
    manifest = {
        "source": source_digest(),
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "objects": objects,
    }
    (into / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def digest_of(file: Path) -> str:
    """BLAKE2b-128 of a file, in hexadecimal."""
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def differences(built: Path) -> list[str]:
    """The files in `built` that are not the same in the repository."""
    return [
        file.name
        for file in sorted(built.iterdir())
        if not (NATIVE / file.name).is_file()
        or file.read_bytes() != (NATIVE / file.name).read_bytes()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Compile the index kernels ahead.")
    parser.add_argument("--check", action="store_true", help="build aside and compare")
    if not parser.parse_args().check:
        build(NATIVE)
        print(f"{len(TARGETS)} objects in {NATIVE}")
        return 0
    with tempfile.TemporaryDirectory() as aside:
        build(Path(aside))
        changed = differences(Path(aside))
    print("\n".join(f"{name} differs" for name in changed) or "all objects are up to date")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
