"""The graph over LadybugDB or kuzu, in a process of its own (L2: imports L0, disk)."""
