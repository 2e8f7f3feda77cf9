"""The records: the system of record, and what the words index takes from them (L2)."""
