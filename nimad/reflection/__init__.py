"""What the memories say together: narrative, goals, persons, connections, attention, suggestions.

Everything is made on demand from records, columns and vectors, in RAM that is given back, and is
extractive: sentences are quoted from memories, or count them, and name their ids.  May import core
and what is below it.
"""
