"""Readers of what other makers' tools remember: a file a kind, items as memories with stable keys.

They run in nimactl as the user who owns the files; nimad reads none of them.  What is read is
hostile: nothing is executed, unpacked to disk or followed out of its tree, and what cannot be read
is refused alone, with its reason.  They import no library but the standard one.
"""
