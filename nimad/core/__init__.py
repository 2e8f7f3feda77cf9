"""The MemoryStore that ties records, words, blocks and graph together (L3: L0-L2 and recall)."""
