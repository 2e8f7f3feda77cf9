"""The MemoryStore, its projections, and what is done with all of them (L3: L0-L2 and recall)."""
