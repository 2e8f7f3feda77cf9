"""The algebra of sparse-block hypervectors, in plain numpy (L1: imports errors, model, config)."""
