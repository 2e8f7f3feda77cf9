"""Durable writes and the checksummed container format (L1: imports errors, model, config)."""
