"""Every seeded fault, in the order in which audio becomes text, then the suite's own."""

from tests.teeth.catalogue import (
    asked,
    audio,
    beside,
    comparators,
    compared,
    decoding,
    drafts,
    dtypes,
    files,
    graphs,
    harness,
    kernels,
    recordings,
    split,
    timing,
    weights,
)
from tests.teeth.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *audio.FAULTS,
    *graphs.FAULTS,
    *kernels.FAULTS,
    *split.FAULTS,
    *dtypes.FAULTS,
    *decoding.FAULTS,
    *drafts.FAULTS,
    *recordings.FAULTS,
    *timing.FAULTS,
    *files.FAULTS,
    *asked.FAULTS,
    *compared.FAULTS,
    *weights.FAULTS,
    *beside.FAULTS,
    *comparators.FAULTS,
    *harness.FAULTS,
)
