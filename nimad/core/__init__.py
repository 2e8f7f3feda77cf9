"""The MemoryStore that ties records, words, blocks and graph together (L3: imports L0-L2, recall)."""
