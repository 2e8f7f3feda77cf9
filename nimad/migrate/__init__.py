"""Legacy sources become memories: batches, stages, verification, rollback (L3: above core)."""
