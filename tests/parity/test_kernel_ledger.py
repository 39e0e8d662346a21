"""The ledger's rows of single ops, measured again on this machine."""

from tests.parity.test_kernels import float32_errors
from tests.parity.test_ledger import wrong_rows


def test_kernels_measured_again() -> None:
    wrong = wrong_rows("", float32_errors())
    assert not wrong, "\n".join(wrong)
