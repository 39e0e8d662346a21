"""The GPU's kernels, each op by itself, as a CPU runs them. Those of a group are compiled together, one for each op."""

from tests.teeth.catalogue.kernels import CONV, CROSS, ROWS, SELF, tests_of
from tests.teeth.fault import Fault

ATTENTION, OPS, PRODUCT, QUERY = (
    f"maxwhisper_impl/kernels/mojo_gpu/{name}.mojo" for name in ("attention", "ops", "product", "query")
)

KERNELS = tests_of("gpu")


def gpu(name: str, group: str, speaks: str, file: str, before: str, after: str, quick: bool = False) -> Fault:
    return Fault(name, "kernels", file, before, after, KERNELS, (speaks,), quick=quick, group=f"gpu {group}")


FAULTS = (
    gpu("gpu-half-of-the-depth-forgotten", "5", ROWS, PRODUCT,
        "(at) + right.unsafe_load[width=4, alignment=16](at)\n                if", "(at)\n                if"),
    gpu("gpu-conv-without-stride-2", "2", CONV, OPS, "3 * channels, stride * channels,", "3 * channels, channels,"),
    gpu("gpu-keys-beyond-the-window-weighed", "1", CROSS, ATTENTION,
        "thread % 16 * 4 + j >= Self.most:", "thread % 16 * 4 + j > Self.most:", quick=True),
    gpu("gpu-the-newest-key-is-not-heard", "1", SELF, QUERY, "self.n + t + 1 if", "self.n + t if", quick=True),
    gpu("gpu-a-higher-score-does-not-lessen-what-was-weighed", "2", CROSS, ATTENTION,
        "mine.unsafe_load(TOTAL + i) * less", "mine.unsafe_load(TOTAL + i)"),
    gpu("gpu-a-sixteenth-of-a-row-left-out", "2", ROWS, PRODUCT,
        "comptime for i in range(SPLIT):", "comptime for i in range(SPLIT - 1):"),
    gpu("gpu-cached-values-of-the-next-head", "3", SELF, QUERY,
        "(place * 2 * self.heads + head) * HEAD", "(place * 2 * self.heads + head + 1) * HEAD"),
    gpu("gpu-every-item-reads-the-first", "6", ROWS, PRODUCT,
        "self.x.unsafe_offset(item * self.item)", "self.x.unsafe_offset(0)"),
    gpu("gpu-rows-of-a-tile-not-in-their-place", "4", ROWS, PRODUCT,
        "item, row + line, across)", "item, row + (line ^ 1), across)"),
    gpu("gpu-columns-read-where-they-do-not-stand", "7", ROWS, PRODUCT,
        "place(i * (TILE // 2) + mine % 8 * 4, d)", "i * (TILE // 2) + mine % 8 * 4"),
    gpu("gpu-weights-of-the-key-beside", "3", CROSS, ATTENTION,
        "weight_of(thread, thread % 16 * 4 + j)", "weight_of(thread, thread % 16 * 4 + (j ^ 1))"),
)  # fmt: skip
