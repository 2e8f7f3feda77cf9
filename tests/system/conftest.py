"""The rigs need root: `make test-deb`, `make test-vm`, `make test-pi`, `make test-card`."""

from __future__ import annotations

import os

RIGS = {
    "installed": "NIMAD_DEB",
    "machine": "NIMAD_VM_DEB",
    "board": "NIMAD_PI_DEB",
    "card": "NIMAD_CARD_REPORT",
}
collect_ignore = [folder for folder, variable in RIGS.items() if not os.environ.get(variable)]
