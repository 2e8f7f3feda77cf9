"""Bytes that survive: durable writes and the checksummed container file.

`durable` writes files so that a power cut leaves the old one or the new one, never a mixture;
`container` is the region file that segments are stored in.  May import `errors` and the standard
library, nothing else.
"""
