"""What the machine has left and how it fares: memory, its limits, pressure, heat, power, priority.

The one user of psutil, which takes 4 ms to import and so waits until it is asked.  Everything here
reads what the kernel tells; nothing here decides.  May import only the standard library and psutil.
"""
