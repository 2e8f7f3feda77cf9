"""The client of the daemon: nimactl's, and the distribution nimad-client.

Imports nothing but the errors, the limits and `closing`: that is all that the distribution takes
along (packaging/build_client.py), and it needs no other package.
"""
