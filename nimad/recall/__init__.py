"""Ranking: words and blocks fused into one answer (L3: imports L0-L2)."""
