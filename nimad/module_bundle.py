"""The modules of a start in one file: found in a table, read at one place.

Python looks for each module in several directories, asks for the times of its files and opens its
byte-code: a quarter of the time until the daemon is ready, and some 300 places to read of a card
that is cold.  The package makes one file of the byte-code when it is installed, for the daemon and
for nimactl (debian/nimad.postinst), and deletes it before its modules are replaced or removed;
without it, or with one of another Python, modules are found as usual.  What it holds is the
byte-code that Python itself would take.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType
    from typing import Any

MAGIC = b"nimadmod"
HEAD = 16
"""Size of MAGIC and of the number that says how long the table is [bytes]."""


def key() -> str:
    """What byte-code depends on: the standard library's is only right for this very Python."""
    return f"{sys.version} {sys.implementation.cache_tag} {sys.flags.optimize}"


class _Loader(SourceFileLoader):
    """One module, whose byte-code is in the bundle; its source is where it always was."""

    def __init__(self, name: str, path: str, bundle: Bundle) -> None:
        super().__init__(name, path)
        self._bundle = bundle

    def get_code(self, fullname: str) -> CodeType:
        return self._bundle.code(fullname)


class Bundle:
    """A finder of modules (importlib.abc.MetaPathFinder)."""

    def __init__(self, path: str) -> None:
        """Raises OSError, and ValueError for one of another Python or a file that is no bundle."""
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        head = os.pread(self._file, HEAD, 0)
        made_for = ""
        if head.startswith(MAGIC):
            self._start = HEAD + int.from_bytes(head[len(MAGIC) :], "little")
            table = os.pread(self._file, self._start - HEAD, HEAD)
            made_for, self._places = marshal.loads(table)
        if made_for != key():
            os.close(self._file)
            raise ValueError(f"{path} was made for {made_for or 'nothing known'}")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if (found := self._places.get(name)) is None:
            return None
        source, cached, is_package, _, _ = found
        spec = ModuleSpec(name, _Loader(name, source, self), origin=source, is_package=is_package)
        spec.has_location, spec.cached = True, cached
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(os.path.dirname(source))  # noqa: PTH120
        return spec

    def code(self, name: str) -> CodeType:
        *_, start, size = self._places[name]
        code: CodeType = marshal.loads(os.pread(self._file, size, self._start + start))
        return code


def use_bundle(path: str) -> None:
    """Find modules in a bundle first, behind those that are part of Python itself; where there is
    none that fits, as usual."""
    try:  # noqa: SIM105 - contextlib is one of the modules
        sys.meta_path.insert(sys.meta_path.index(PathFinder), Bundle(path))
    except (OSError, ValueError, EOFError, TypeError):
        pass


def write_bundle(path: str, names: Sequence[str]) -> None:
    """Import some modules, and make a bundle of all that came with them.

    Raises OSError, DiskFull, DiskFailed.  A power cut leaves none, the one of before, or all of it.
    """
    for name in names:
        __import__(name)
    places: dict[str, tuple[str, str, bool, int, int]] = {}
    body = bytearray()
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is None or type(spec.loader) is not SourceFileLoader or name != spec.name:
            continue
        code = marshal.dumps(spec.loader.get_code(name))
        is_package = spec.submodule_search_locations is not None
        places[name] = spec.origin, spec.cached, is_package, len(body), len(code)
        body += code
    table = marshal.dumps((key(), places))

    from pathlib import Path  # not before it is known what was imported

    from nimad.disk.durable import write_durable

    length = len(table).to_bytes(HEAD - len(MAGIC), "little")
    write_durable(Path(path), (MAGIC, length, table, body))
    Path(path).chmod(0o644)
