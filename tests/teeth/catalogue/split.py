"""MAX's own ops on a GPU that rounds its factors: what the parts are, and that all of them are multiplied."""

from tests.teeth.fault import faults_of

split = faults_of("kernels", "maxwhisper_impl/kernels/split.py", "tests/parity/test_split.py")
FAULTS = (
    split(
        "nothing-split-off",
        "        high = ops.cast(near, DType.float32)\n",
        "        high = x\n",
        "halves_are_read_whole",
    ),
    split(
        "a-weight-with-a-bit-too-many",
        "DROPPED = 13",
        "DROPPED = 12",
        "weights_are_two_numbers*",
        "nearest*",
        quick=True,
    ),
    split(
        "the-rest-of-a-row-not-multiplied",
        ' + self._times(rest, f"{name}.weight")',
        "",
        "products[float16]",
    ),
    split(
        "the-rest-of-a-weight-not-multiplied",
        '            y = y + self._times(high, f"{name}.rest")\n',
        "",
        "products[float32]",
    ),
    split(
        "weights-cut-and-not-rounded",
        "bits + (1 << DROPPED - 1) >> DROPPED",
        "bits >> DROPPED",
        "nearest*",
    ),
)
