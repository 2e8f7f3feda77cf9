"""The kernels of both indexes, in several forms that agree bit for bit.

`reference` (numpy) is the definition; `contract` names what each form offers.  May import numpy and
the standard library; only this package imports numba.
"""
