"""The graph projection over LadybugDB or kuzu (L2: imports L0, disk)."""
