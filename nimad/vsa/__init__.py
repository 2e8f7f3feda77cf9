"""The algebra of sparse-block hypervectors, in plain numpy (L1: may import errors, model, config).

`algebra` has the operations on whole hypervectors, `sparse` the form that keeps only active blocks.
"""
