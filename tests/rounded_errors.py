"""What numbers of bfloat16 and int8 cost: `python -m tests.measure_tolerances --dtype …`, of openai-whisper rounded as
`tests/rounded.py` does it, against itself in float64. `tests/tolerances.py` makes the ledger's rows of it."""

MEASURED: dict[str, dict[str, float]] = {
    "bfloat16": {
        "kernels/rel_l2": 1.6e-07,
        "kernels.attention/rel_l2": 9.1e-04,
    },
    "int8": {
        "kernels/rel_l2": 2.8e-07,
        "kernels.attention/rel_l2": 9.1e-04,
    },
}
