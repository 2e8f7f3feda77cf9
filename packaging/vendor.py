"""Unpacks the locked wheels into the package tree, without what a board never needs.

    python3 packaging/vendor.py --release R --arch A --wheels W --into I --licenses L [--minilm]

Run by debian/rules, so it needs the standard library only and no network.  Every file is checked
against its lock before a byte of it is unpacked.  Only modules and shared libraries come in; tests,
headers, type stubs, what nobody imports of numpy, its help texts, what numpy does not
call of OpenBLAS, and all *.dist-info stay out, but the license texts are collected into one file
per project.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import hashlib
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath

from fetch_wheels import LOCK_LINE
from prune_library import imported, pruned
from strip_library import without_symbols
from targets import SDIST_LOCK, Target, add_arguments

DROPPED = (
    "*/tests/*",
    "*/_examples/*",
    "*/conftest.py",
    "numpy/distutils/*",
    "numpy/f2py/*",
    "numpy/_pyinstaller/*",
    "numpy/ctypeslib/*",
    "numpy/lib/recfunctions.py",
    "numpy/polynomial/*",
    "numpy/testing/*",
    "numpy/_typing/_[!_]*.py",
    "numpy/typing/mypy_plugin.py",
    "numpy/_core/_simd.*",  # numpy's own test of its vector instructions, as are the *_tests below
    "numpy/_core/_*_tests.*",
    "numpy/random/_[mps][tfh]*.so",  # MT19937, SFC64, Philox: see REPLACED
    "numpy/random/mtrand.*",
    "numpy/random/_pickle.py",
    "psutil/_ps[absw][!o]*.py",  # AIX, BSD, Solaris, Windows
    "psutil/_psosx.py",
    "onnxruntime/backend/*",
    "onnxruntime/datasets/*",
    "onnxruntime/quantization/*",
    "onnxruntime/tools/*",
    "onnxruntime/transformers/*",
    "onnxruntime/capi/libonnxruntime*",  # for programs in C; the Python module holds it all, too
    "psycopg/crdb/*",  # another database
    "psycopg/types/shapely.py",
    "numpy/ma/testutils.py",
    "numpy/matlib.py",
    "ladybug/torch_geometric_[fg]*.py",  # only with PyTorch
    "_yaml/*",
    "yaml/cyaml.py",
    "yaml/_yaml.*",  # libyaml: the pure reader takes 2 ms for the whole configuration
)
EMPTIED = ("numpy/_core/_add_newdocs.py", "numpy/_core/_add_newdocs_scalars.py")
"""Modules that do nothing but give compiled functions their help texts."""
HELP_IS_READ = "numpy/_core/numeric.py"
"""The module whose help texts numpy.ma reads and insists on."""
_TYPES = b"""\
from numpy._core.multiarray import ndarray
ArrayLike = DTypeLike = NDArray = ndarray
"""
REPLACED = {
    "numpy/_typing/__init__.py": _TYPES,
    "numpy/typing/__init__.py": _TYPES,
    "numpy/random/__init__.py": b"""\
from ._generator import Generator, default_rng
from ._pcg64 import PCG64
from .bit_generator import BitGenerator, SeedSequence
class RandomState: pass
""",
}
"""Modules that bring along what nimad never asks for: what only type checkers read; random numbers
as of old, of which `default_rng` wants to know whether it was given some."""

LATE = {
    "numpy/lib/_utils_impl.py": [
        (b"\nimport platform\n", b"\n\n"),
        (b" platform.uname()", b" __import__('platform').uname()"),
    ],
    "numpy/_core/overrides.py": [
        (b"        if verify:\n", b"        if False:\n"),  # numpy's own tests have verified it
        (b"  if not verify and not getattr(", b"  if False and not getattr("),  # what help() shows
    ],
    "numpy/_core/fromnumeric.py": [  # nothing is one as long as there is no such class
        (b"isinstance(a, np.matrix)", b"isinstance(a, np.__dict__.get('matrix', ()))"),
    ],
    # imported for others, which find them elsewhere
    "numpy/lib/_function_base_impl.py": [
        (b"\nfrom numpy.lib._histograms_impl import histogram, histogramdd ", b"\n"),
    ],
    "numpy/lib/__init__.py": [
        (b"\nfrom ._arrayterator_impl import Arrayterator\n", b"\n\n"),
        (b"\nfrom ._version import NumpyVersion\n", b"\n\n"),
    ],
    "numpy/__init__.py": [
        (b"\n    from . import lib, matrixlib as _mat\n", b"\n    from . import lib\n"),
        (b"\n    from .lib import scimath as emath\n", b"\n\n"),
    ],
}
"""What a module imports for one function, which imports it then, and what it does for nobody: less
of each start."""
USED_AT_ONCE = {"lib._arraysetops_impl", "lib._function_base_impl"}
"""Modules with functions that are called at a start or by the first question.  The others that
numpy imports for its names are imported when one of their names is asked for."""
OTHER_HOME = dict.fromkeys(("packbits", "unpackbits"), "numpy._core.multiarray")
"""Names that numpy takes from a module that has them from elsewhere."""
_FIND_LATE = b"""\
    if attr in _late:
        from importlib import import_module
        module = import_module(_late[attr])
        return globals().setdefault(attr, getattr(module, attr, module))
"""


class VendorError(Exception):
    """The cache does not hold what the locks say; the message names the file and what to do."""


def wanted(path: str) -> bool:
    """Whether a file of a wheel goes into the package: modules and shared libraries that we use."""
    name = PurePosixPath(path).name
    if not (name.endswith(".py") or ".so" in name):
        return False
    return not any(fnmatch.fnmatchcase(path, pattern) for pattern in DROPPED)


def without_help(source: bytes) -> bytes:
    """A module without docstrings, each statement on its line: less to download, to read at each
    start and to keep in memory."""
    starts = list(accumulate(map(len, source.splitlines(keepends=True)), initial=0))
    out = bytearray(source)
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [
        (node.body[0], b'(""' if isinstance(node, ast.Module) else b"(None")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None
    ]  # only behind a text may a module import from __future__; numpy.ma expects none of others
    for text, begin in sorted(texts, key=lambda found: found[0].lineno, reverse=True):
        assert text.end_lineno is not None and text.end_col_offset is not None
        first = starts[text.lineno - 1] + text.col_offset
        end = starts[text.end_lineno - 1] + text.end_col_offset
        out[first:end] = begin + b"\n" * (text.end_lineno - text.lineno) + b")"
    return bytes(out)


def names_late(package: str, source: bytes) -> bytes:
    """`numpy` or `numpy.lib`, which finds names and modules of numpy.lib once they are asked for;
    the list of all names, which only a star would read, is left out."""
    lines = source.splitlines(keepends=True)
    late: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [alias.name for alias in node.names]
            if node.module is None and package == "numpy.lib":
                late |= {name: f"{package}.{name}" for name in names}
            elif (node.module or "").startswith(("lib.", "matrixlib")):
                if node.module in USED_AT_ONCE:
                    continue
                late |= {name: OTHER_HOME.get(name, f"{package}.{node.module}") for name in names}
            else:
                continue
        elif not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"):
            continue
        place = slice(node.lineno - 1, node.end_lineno)
        lines[place] = [b"\n"] * len(lines[place])
    begin = re.compile(rb"^( *)def __getattr__\(attr\):\n", re.MULTILINE)
    out = b"".join(lines)
    if (found := begin.search(out)) is None or not late:
        raise VendorError(f"{package} is not as vendor.py knows it")
    indent = found[1]
    find = b"".join(indent + line for line in _FIND_LATE.splitlines(keepends=True))
    known = indent + f"_late = {late!r}\n".encode()
    return out[: found.start()] + known + found[0] + find + out[found.end() :]


def is_license(path: str) -> bool:
    """Whether a file is a license text that belongs to what we take."""
    name = PurePosixPath(path).name.upper()
    return name.startswith(("LICENSE", "COPYING", "THIRDPARTYNOTICES")) or name.endswith(
        "LICENSE.TXT"
    )


def locked_files(locks: Sequence[Path], wheels: Path) -> Iterator[tuple[str, Path]]:
    """(project, file) of everything in the locks; VendorError when one is absent."""
    by_digest = {hashlib.sha256(p.read_bytes()).hexdigest(): p for p in wheels.iterdir()}
    for lock in locks:
        for name, version, digest in LOCK_LINE.findall(lock.read_text(encoding="utf-8")):
            if digest not in by_digest:
                raise VendorError(
                    f"{wheels} has no file of {name} {version} with the digest that "
                    f"{lock.name} demands; run packaging/fetch_wheels.py, or simply `make deb`"
                )
            yield name, by_digest[digest]


def wheel_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(path, content) of each file of a wheel."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, archive.read(info)


def sdist_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(path, content) of each file of a source archive, less its one top folder."""
    with tarfile.open(path) as archive:
        for member in archive:
            inner = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield str(inner), content.read()


def members(project: str, path: Path) -> Iterator[tuple[str, bytes]]:
    """(path, content) of what an archive installs, and of its license files."""
    if path.suffix == ".whl":
        yield from wheel_members(path)
        return
    for name, content in sdist_members(path):
        if name.startswith(f"{project}/") or is_license(name):
            yield name, content


def write_licenses(project: str, path: Path, place: Path) -> None:
    """One file with every license text of an archive, each under its own name."""
    found = sorted((name, text) for name, text in members(project, path) if is_license(name))
    if not found:
        raise VendorError(f"{path.name} carries no license text")
    parts = [f"=== {name} ===\n\n".encode() + text.strip() + b"\n" for name, text in found]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"\n".join(parts))


def unpack(project: str, path: Path, into: Path) -> int:
    """Writes the wanted files of one archive below `into`; returns how many bytes."""
    size = 0
    for name, content in members(project, path):
        if not wanted(name):
            continue
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise VendorError(f"{path.name} wants to write outside its folder: {name}")
        if name.endswith(".py") and name != HELP_IS_READ:
            content = b"" if name in EMPTIED else REPLACED.get(name) or without_help(content)
            for early, late in LATE.get(name, ()):
                if early not in content:
                    raise VendorError(f"{name} of {path.name} is not as vendor.py knows it")
                content = content.replace(early, late)
            if name in ("numpy/__init__.py", "numpy/lib/__init__.py"):
                content = names_late(name.removesuffix("/__init__.py").replace("/", "."), content)
        place = into / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        size += len(content)
    return size


def shrink_libraries(tree: Path) -> None:
    """Leaves out of the shared libraries below a folder what is never called or read.

    What numpy brings along is for numpy alone; the exports of others stay.
    """
    libraries = {path: path.read_bytes() for path in sorted(tree.rglob("*.so*")) if path.is_file()}
    wanted = set().union(*map(imported, libraries.values()))
    for path, data in libraries.items():
        if not path.is_relative_to(tree / "onnxruntime"):
            data = pruned(data, wanted if path.parent == tree / "numpy.libs" else None)
        path.write_bytes(without_symbols(data))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--licenses", type=Path, required=True)
    parser.add_argument("--minilm", action="store_true", help="what nimad-minilm carries")
    options = parser.parse_args()
    target = Target(options.release, options.arch)
    locks = [target.minilm_lock] if options.minilm else [target.lock, SDIST_LOCK]
    try:
        for project, path in locked_files(locks, options.wheels):
            size = unpack(project, path, options.into)
            write_licenses(project, path, options.licenses / f"{project}.txt")
            print(f"  {path.name}: {size / 1e6:.1f} MB")
        shrink_libraries(options.into)
    except (VendorError, OSError) as error:
        print(f"vendor.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
