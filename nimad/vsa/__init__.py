"""The algebra of block hypervectors, in plain numpy (L1: may import errors, model, config).

`algebra` is the reference: operations on whole hypervectors. `sparse` keeps only active blocks,
`codes` only the positions of one-hot blocks. `factors` takes products of such codes apart exactly,
`resonator` any product of hypervectors, by iteration. docs/hypervectors.md has the notation, what
is exact and where it breaks.
"""
