"""The sparse-block index: segments, hot rows, search (L2: imports L0, vsa, disk)."""
