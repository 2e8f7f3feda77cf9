"""The records: the system of record, and the words index in the same file (L2: imports L0, L1)."""
