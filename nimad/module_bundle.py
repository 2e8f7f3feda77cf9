"""The modules of a start in one file: found in a table, read at one place.

Python looks for each module in several directories, asks for the times of its files and opens its
byte-code: a quarter of the time until the daemon is ready, and some 300 places to read of a card
that is cold.  The package makes one file of the byte-code when it is installed, for the daemon and
for nimactl (debian/nimad.postinst), and deletes it before its modules are replaced or removed;
without it, or with one of another Python, modules are found as usual.  What it holds is the
byte-code that Python itself would take.

Two things more cost nothing but a start: modules of the standard library that others import for
what hardly ever happens are loaded when it does (LATE), and our own are loaded one behind the other
(`load_ahead`), which spares Python most of what it does to find out that they are there.
"""

from __future__ import annotations

import marshal
import os
import sys
from _thread import allocate_lock
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

MAGIC = b"nimadmod"
HEAD = 16
"""Size of MAGIC and of the number that says how long the table is [bytes]."""


CO_COROUTINE = 0x80
"""Of the flags of a code object (inspect)."""

_STEP = allocate_lock()


def is_coroutine_function(function: Any) -> bool:
    """inspect.iscoroutinefunction, which needs no inspect for what is plainly one or none: asyncio
    asks of each function that is to be called at a signal."""
    plain = getattr(function, "__func__", function)
    if type(plain) is type(key) and not plain.__dict__:
        return bool(plain.__code__.co_flags & CO_COROUTINE)
    import inspect

    return inspect.iscoroutinefunction(function)


def annotations_of(thing: Any, **how: Any) -> dict[str, Any]:
    """inspect.get_annotations, which needs no inspect for those of a class as they are written:
    since Python 3.13 the library's dataclass asks it."""
    if isinstance(thing, type) and not how:
        told = vars(thing).get("__annotations__", {})
        if type(told) is dict:
            return dict(told)
    import inspect

    return inspect.get_annotations(thing, **how)


LATE: dict[str, dict[str, Any]] = {
    "ast": {},
    "asyncio.sslproto": {},
    "asyncio.staggered": {},
    "inspect": {
        "get_annotations": annotations_of,
        "iscoroutinefunction": is_coroutine_function,
    },
    "ipaddress": {},
    "pickle": {},
    "subprocess": {"PIPE": -1, "STDOUT": -2, "DEVNULL": -3},
    "textwrap": {},
    "tokenize": {},
}
"""Modules that others import for what hardly ever happens, and what is asked of them meanwhile."""


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


class _LateLoader(SourceFileLoader):
    """A module that is loaded once something of it is used."""

    def __init__(self, name: str, path: str, late: dict[str, Any]) -> None:
        super().__init__(name, path)
        self._late = late

    def exec_module(self, module: ModuleType) -> None:
        """Leave it at what is known."""

        def load(attribute: str) -> Any:
            if attribute == "__path__":  # it is no package
                raise AttributeError(attribute)
            return getattr(load_late(self.name, self._late), attribute)

        module.__dict__.update(self._late[self.name], __getattr__=load)


def load_late(name: str, late: dict[str, Any]) -> ModuleType:
    """Load a late module; other threads wait for that, as for any import."""
    with _STEP:
        if late.pop(name, None) is not None:
            del sys.modules[name]
    return import_module(name)


class Bundle:
    """A finder of modules (importlib.abc.MetaPathFinder)."""

    def __init__(self, path: str) -> None:
        """Raises OSError, and ValueError for one of another Python or a file that is no bundle."""
        self._late = dict(LATE)
        self._read: dict[str, CodeType] = {}
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        head = os.pread(self._file, HEAD, 0)
        made_for = ""
        if head.startswith(MAGIC):
            self._start = HEAD + int.from_bytes(head[len(MAGIC) :], "little")
            table = os.pread(self._file, self._start - HEAD, HEAD)
            made_for, self._places, self._order = marshal.loads(table)
        if made_for != key():
            os.close(self._file)
            raise ValueError(f"{path} was made for {made_for or 'nothing known'}")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if (found := self._places.get(name)) is None:
            return None
        source, cached, is_package, _, _ = found
        if name in self._late:
            loader: SourceFileLoader = _LateLoader(name, source, self._late)
        else:
            loader = _Loader(name, source, self)
        spec = ModuleSpec(name, loader, origin=source, is_package=is_package)
        spec.has_location, spec.cached = True, cached
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(os.path.dirname(source))  # noqa: PTH120
        return spec

    def code(self, name: str) -> CodeType:
        if name not in self._read:
            *_, start, size = self._places[name]
            self._read |= marshal.loads(os.pread(self._file, size, self._start + start))
        return self._read.pop(name)

    def load_ahead(self) -> None:
        """Load our own modules before they are imported, each behind those that it imports: then
        each import finds them, and most of what Python does for a module is not needed."""
        for name in self._order:
            if name in sys.modules or (spec := self.find_spec(name)) is None:
                continue
            module = type(sys)(name)
            content = module.__dict__
            content.update(__spec__=spec, __loader__=spec.loader, __package__=spec.parent)
            content.update(__file__=spec.origin, __cached__=spec.cached)
            if spec.submodule_search_locations is not None:
                content["__path__"] = spec.submodule_search_locations
            sys.modules[name] = module
            try:
                exec(self.code(name), content)
            except BaseException:
                del sys.modules[name]
                raise
            package, _, tail = name.rpartition(".")
            if package:
                setattr(sys.modules[package], tail, module)
        self._read.clear()


def use_bundle(path: str) -> None:
    """Find modules in a bundle first (it has none of those that are part of Python itself); where
    there is none that fits, as usual."""
    try:  # noqa: SIM105 - contextlib is one of the modules
        sys.meta_path.insert(0, Bundle(path))
    except (OSError, ValueError, EOFError, TypeError):
        pass


def load_ahead() -> None:
    """Load our own modules that are always used; nothing without a bundle."""
    if isinstance(found := sys.meta_path[0], Bundle):
        found.load_ahead()


def write_bundle(path: str, always: Sequence[str], names: Sequence[str]) -> None:
    """Import some modules, and make a bundle of all that came with them.

    What each of those that are `always` imported brings is read in one piece, but for LATE.  Raises
    OSError, DiskFull, DiskFailed.  A power cut leaves none, the one of before, or all of it.
    """
    order: list[str] = []
    late = dict(LATE)
    execute = SourceFileLoader.exec_module

    def noted(loader: SourceFileLoader, module: ModuleType) -> None:
        execute(loader, module)
        order.append(module.__name__)

    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
            if name not in late or (spec := PathFinder.find_spec(name, path)) is None:
                return None
            spec.loader = _LateLoader(name, str(spec.origin), late)
            return spec

    sys.meta_path.insert(0, Finder)
    SourceFileLoader.exec_module = noted  # type: ignore[assignment,method-assign]
    pieces: list[set[str]] = []
    for name in always:
        __import__(name)
        pieces.append(sys.modules.keys() - late.keys() - set().union(*pieces))
    SourceFileLoader.exec_module = execute  # type: ignore[method-assign]
    sys.meta_path.remove(Finder)
    for name in late.keys() & sys.modules.keys():
        load_late(name, late)
    for name in names:
        __import__(name)
    pieces += [{name} for name in sys.modules.keys() - set().union(*pieces)]
    places: dict[str, tuple[str, str, bool, int, int]] = {}
    body = bytearray()
    for piece in pieces:
        specs: dict[str, Any] = {}
        for name in piece:
            spec = getattr(sys.modules[name], "__spec__", None)
            if spec and type(spec.loader) is SourceFileLoader and name == spec.name:
                specs[name] = spec
        read = marshal.dumps({name: spec.loader.get_code(name) for name, spec in specs.items()})
        for name, spec in specs.items():
            is_package = spec.submodule_search_locations is not None
            places[name] = spec.origin, spec.cached, is_package, len(body), len(read)
        body += read
    own = __name__.partition(".")[0]
    ahead = [name for name in order if name.partition(".")[0] == own]
    table = marshal.dumps((key(), places, ahead))

    from pathlib import Path  # not before it is known what was imported

    from nimad.disk.durable import write_durable

    length = len(table).to_bytes(HEAD - len(MAGIC), "little")
    write_durable(Path(path), (MAGIC, length, table, body))
    Path(path).chmod(0o644)
