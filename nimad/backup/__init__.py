"""A store as one file, and back: `writing` asks the running store, `restoring` makes a new one."""
