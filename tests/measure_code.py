"""Measures the source of nimad: figures for people (`make measure`), facts for test_layers.

An import counts wherever it stands: at the top of a file, inside a function, under
`if TYPE_CHECKING`. A reader of the file needs the other one, whenever Python loads it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class SourceFile:
    """One module: its text, its tree and what can be counted in it."""

    path: Path
    module: str
    text: str
    tree: ast.Module

    @property
    def unit(self) -> str:
        """The package or the top-level module it belongs to: `store`, `errors`."""
        parts = self.module.split(".")
        return parts[1] if len(parts) > 1 else ""

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @cached_property
    def imported_names(self) -> set[str]:
        """Modules and names it imports, in full: `nimad.errors` and `nimad.errors.NotFound`."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
        return found

    @cached_property
    def functions(self) -> list[FunctionNode]:
        """Functions and methods, nested ones included."""
        return [n for n in ast.walk(self.tree) if isinstance(n, FunctionNode)]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        return [n for n in ast.walk(self.tree) if isinstance(n, ast.ClassDef)]

    @cached_property
    def references(self) -> Counter[str]:
        """How often each name is used in this file, as a variable or as an attribute."""
        names: Counter[str] = Counter()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name):
                names[node.id] += 1
            elif isinstance(node, ast.Attribute):
                names[node.attr] += 1
        return names

    @cached_property
    def called_names(self) -> set[str]:
        """Names that are called: not those that are only handed on, as a callback is."""
        calls = (node.func for node in ast.walk(self.tree) if isinstance(node, ast.Call))
        return {n.id if isinstance(n, ast.Name) else n.attr for n in calls if _has_name(n)}

    def private_used_once(self) -> Iterator[FunctionNode]:
        """Private functions whose name occurs exactly once in this file besides the definition."""
        for function in self.functions:
            if is_private(function.name) and self.references[function.name] == 1:
                yield function


@dataclass
class SourceTree:
    """All modules of the package `nimad` below `root`."""

    root: Path = ROOT

    @cached_property
    def files(self) -> dict[str, SourceFile]:
        """Module → its file, read when first asked for: it takes 1.3 s."""
        found = {}
        for path in sorted((self.root / "nimad").rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            found[module] = SourceFile(path, module, text, ast.parse(text))
        return found

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Module → the modules of nimad that it imports."""
        return {name: self._imported_by(file) for name, file in self.files.items()}

    def _imported_by(self, file: SourceFile) -> set[str]:
        names = file.imported_names & self.files.keys()
        packages = {name for name in names if any(n.startswith(f"{name}.") for n in names)}
        packages -= {p for p in packages if _names_of_its_own(file, p, self.files)}
        return names - packages - {file.module}

    def circles(self) -> list[list[str]]:
        """Groups of modules that import each other, directly or through others; sorted."""
        reach = {name: self._reachable(name) for name in self.files}
        groups = {
            tuple(sorted(other for other in reach[name] if name in reach[other]))
            for name in self.files
            if name in reach[name]
        }
        return [list(group) for group in sorted(groups)]

    def _reachable(self, start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(self.imports[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(self.imports[name])
        return seen

    def importers(self) -> Counter[str]:
        """Module → how many modules of nimad import it."""
        return Counter(name for imported in self.imports.values() for name in imported)


def _names_of_its_own(file: SourceFile, package: str, files: dict[str, SourceFile]) -> bool:
    """Does the file import a name that is no module from this package: `from nimad import x`?"""
    return any(
        name.rpartition(".")[0] == package and name not in files for name in file.imported_names
    )


def _has_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def is_private(name: str) -> bool:
    """A leading underscore, and not one of Python's own `__names__`."""
    return name.startswith("_") and not name.startswith("__")


def length_of(function: FunctionNode) -> int:
    """Lines from `def` to the end: signature and docstring included, decorators not."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def is_single_word(name: str) -> bool:
    """Of a function (`read`, not `read_rows`) or of a class (`Gate`, not `ReadGate`)."""
    words = re.findall("[A-Z][a-z0-9]*|[a-z0-9]+", name)
    return len(words) <= 1


def measure(tree: SourceTree) -> dict[str, str]:
    """The figures by which the shape of the house is judged, ready to print."""
    files = list(tree.files.values())
    functions = [f for file in files for f in file.functions]
    lengths = sorted(length_of(function) for function in functions)
    file_lengths = sorted(file.lines for file in files)
    once = [f for file in files for f in file.private_used_once()]
    names = [f.name for f in functions if not f.name.startswith("__")]
    names += [c.name for file in files for c in file.classes]
    single = sum(map(is_single_word, names))
    importers = tree.importers()
    lonely = sum(importers[name] == 1 for name in tree.files)
    return {
        "lines": f"{sum(file_lengths):,}",
        "files": f"{len(files)}, median {median(file_lengths):.0f} lines,"
        f" p90 {file_lengths[len(files) * 9 // 10]}, longest {file_lengths[-1]}",
        "functions": f"{len(functions):,}, median {median(lengths):.0f} lines,"
        f" p90 {lengths[len(lengths) * 9 // 10]}, longest {lengths[-1]}",
        "private functions used once": f"{len(once)} of {len(functions):,}"
        f" ({len(once) / len(functions):.1%})",
        "names of a single word": f"{single:,} of {len(names):,} ({single / len(names):.1%})",
        "files with one importer": f"{lonely} of {len(files)}",
        "import circles": ", ".join(f"{len(c)} modules" for c in tree.circles()) or "none",
    }


def main() -> None:
    """Print the figures of the checkout given as an argument, or of this one."""
    tree = SourceTree(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
    for name, figure in measure(tree).items():
        print(f"{name:30}{figure}")


if __name__ == "__main__":
    main()
