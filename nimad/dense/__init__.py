"""Legacy hypervectors, converted: compact, comparable, and still to be unbound.

A dense hypervector (10,000 or 50,000 float32) becomes its spectrum in 100 blocks, what it shares
with others taken out, the rest in 2 to 4 bits a coordinate; see `vectors` for the file, `training`
for what is shared, docs/dense.md for the measured curve.  May import `errors`, `model`, `disk` and
`vsa`, nothing else of nimad.
"""
