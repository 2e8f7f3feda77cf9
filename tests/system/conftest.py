"""tests/system/installed needs root and a package: only `make test-deb` runs it."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("NIMAD_DEB") else ["installed"]
