"""The protocol, access rules, handlers and the socket server (L4: imports L0-L3)."""
