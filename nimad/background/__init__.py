"""When and how work in the background runs (L3: above core and probe)."""
