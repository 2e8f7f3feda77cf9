"""nimad: on-device memory for AI agents.

Two arrows; everything else serves them:

    request → serve (frames, access, verb) → store → recall (words + blocks + columns) → memories
    source  → reader → batch → records + words (one commit) → embed → blocks → verify

The records (SQLite) are the one truth; words, blocks, graph, hypervectors and columns are
projections of it that can be made anew.  docs/architecture.md tells which package lives on which
layer; imports only go down.

The legacy guides import some modules of `nimad.cognition` by other names, of the top level and of
three packages; `_OtherNames` finds those, when nothing else does.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
"""Type checkers take it for that of typing, which is not imported here: nimactl does without."""
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_FACES = (
    *("affective_binding", "consciousness_workspace", "dreaming", "embeddings"),
    *("nima_consciousness_core", "phi_estimator", "self_narrative", "self_observer_agent"),
    *("sparse_block_memory", "sparse_block_vsa", "theory_of_mind", "volition"),
)
_OTHER_NAMES = {
    **{f"nimad.{name}": f"nimad.cognition.{name}" for name in _FACES},
    "nimad.embeddings.embeddings": "nimad.cognition.embeddings",
    "nimad.experimental": "nimad.cognition",
    "nimad.experimental.phi_estimator": "nimad.cognition.phi_estimator",
    "nimad.experimental.theory_of_mind": "nimad.cognition.theory_of_mind",
    "nimad.integrations": "nimad.cognition",
    "nimad.integrations.nima_episodic_integration": "nimad.nima_episodic_integration",
}
"""Another name → the module."""
_PACKAGES = {name.rpartition(".")[0] for name in _OTHER_NAMES} - {"nimad"}


class _OtherNames:
    """Finder and loader (docs.python.org/3/library/importlib.html) of these names: a module is the
    real one, loaded only now; a package of that name hands out what the real module has."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> Any:
        if name not in _OTHER_NAMES:
            return None
        spec = type(__spec__)(name, _OtherNames)  # type: ignore[arg-type]
        spec.submodule_search_locations = [] if name in _PACKAGES else None
        return spec

    @staticmethod
    def create_module(spec: object) -> None:
        """An ordinary empty one, to begin with."""

    @staticmethod
    def exec_module(module: Any) -> None:
        from importlib import import_module

        real = import_module(_OTHER_NAMES[module.__name__])
        if module.__name__ in _PACKAGES:
            module.__getattr__ = lambda name: getattr(real, name)
        else:
            sys.modules[module.__name__] = real


sys.meta_path.append(_OtherNames)
