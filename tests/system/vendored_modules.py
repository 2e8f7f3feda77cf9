"""Prints which modules cannot be imported, of those that the package carries.

python -IS vendored_modules.py FOLDER PACKAGE  takes them from a folder; PACKAGE tells which.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

sys.path.insert(0, sys.argv[1])
warnings.simplefilter("ignore")
for path in sorted(Path(sys.argv[2]).rglob("*.py")):
    parts = path.relative_to(sys.argv[2]).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    try:
        importlib.import_module(name)
    except Exception as error:
        print(name, type(error).__name__)
