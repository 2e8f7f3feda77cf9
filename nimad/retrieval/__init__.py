"""The second home that the legacy guides know of the resonator (L3: may import cognition)."""
