"""Keep forked processes from garbage-collecting what this one has imported: a tenth of a load's time."""

import gc

gc.collect()
gc.freeze()
# As in the tests' own process.
gc.set_threshold(20_000)
