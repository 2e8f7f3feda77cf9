"""The words index: which memory holds which word, how often; in immutable files and a small tail.

May import errors, text, disk, store and index (its kernels); knows nothing of ranking.
"""
