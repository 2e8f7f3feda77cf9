"""The sparse-block index: vectors in, the nearest memories out (L2: imports L0, vsa, disk).

`blocks` is the face: BlockIndex.  Behind it: `hot` (rows in memory), `segment` and `writer` (the
sealed file and how it is made), `cells` (learned blocks and dimensions), `view` (the search over
one immutable state), `quantise` (vectors to whole numbers), `kernels/` (the inner loops).
"""
