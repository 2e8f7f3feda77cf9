"""nimad-sync: the helper process between the daemon's Unix socket and the hub of its fleet."""
