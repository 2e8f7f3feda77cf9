"""What could be tidied up in a store: found and told with the command that mends it, never done.

Reads the records in steps and gives way to queries.  May import core and what is below it.
"""
