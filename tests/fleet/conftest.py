"""Without libpq there is no psycopg, and nothing to collect: only `make test-fleet` runs these."""

from __future__ import annotations

from ctypes.util import find_library

collect_ignore_glob = [] if find_library("pq") else ["test_*.py"]
