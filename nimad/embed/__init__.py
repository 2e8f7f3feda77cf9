"""Text to vectors, without any network (L1: imports errors, model, config, disk)."""
