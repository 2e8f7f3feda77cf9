"""The one door to psycopg, which needs Debian's libpq5: without it, says so and ends."""

from __future__ import annotations

import sys

try:
    import psycopg
except ImportError as error:  # psycopg without libpq
    sys.stderr.write(f"PostgreSQL's library is missing: apt install libpq5 ({error})\n")
    raise SystemExit(69) from None

__all__ = ["psycopg"]
