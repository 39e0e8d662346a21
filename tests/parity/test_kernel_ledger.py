"""The ledger's rows of single ops, measured again on this machine."""

import pytest

from tests.parity.kernel_bench import Reference
from tests.parity.test_ledger import wrong_rows


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_kernels_measured_again(dtype: str) -> None:
    wrong = wrong_rows("", Reference(dtype).errors(), dtype)
    assert not wrong, "\n".join(wrong)
