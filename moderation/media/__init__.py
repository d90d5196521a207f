"""From a reference to pixels, safely: every byte that passes here may be hostile.

Read `blobs` and `fetch` for how bytes are found, then `decode` for how they become an
`Image`. Pillow runs in child processes only (`child`, locked down by `sandbox`); nothing
in this package imports torch, and what the child imports does not even import numpy.
"""
