"""What the suite's own decoders, which have logits alone, choose in a greedy step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from maxwhisper_impl.decoding.filters import Plan, apply_plan
from maxwhisper_impl.decoding.greedy import pick_likeliest


class PicksOnHost(ABC):
    """`pick` of a decoder's state out of the logits that it steps to; `runtime.DecoderState` does it in the graph."""

    @abstractmethod
    def step(self, tokens: np.ndarray, at: Sequence[int] = (-1,)) -> np.ndarray: ...

    def pick(self, tokens: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """Appends tokens [rows, 1]; the likeliest ids that the plan allows and their log-probabilities, both [rows]."""
        return pick_likeliest(apply_plan(plan, np.array(self.step(tokens)[:, 0])))
