"""Our kernels, each op by itself. Those of a group are compiled together: one for each op at most."""

from tests.teeth.fault import Fault

FUSED = "maxwhisper_impl/kernels/fused.py"
PACKING = "maxwhisper_impl/kernels/packing.py"
ATTENTION, EMBEDDING, HEADS, LAYER, LINEAR, WORDS = (
    f"maxwhisper_impl/kernels/mojo/{name}.mojo"
    for name in ("attention", "embedding", "heads", "layer", "linear", "words")
)
FILE = "test_kernels.py"
CONV, CROSS, SELF, EMBED, ROWS = (
    f"{FILE}::test_{name}"
    for name in (
        "convolutions",
        "attention_over_a_window",
        "attention_behind_a_cache",
        "embedding_and_picked_rows",
        "linear",
    )
)
KERNELS = tuple(f"tests/parity/{test}" for test in (ROWS, CONV, CROSS, SELF, EMBED))
"""Those that compile our ops once, for float32 weights."""


def kernel(
    name: str, group: str, speaks: str | tuple[str, ...], file: str, before: str, after: str, quick: bool = False
) -> Fault:
    places = (speaks,) if isinstance(speaks, str) else speaks
    return Fault(name, "kernels", file, before, after, KERNELS, places, quick=quick, group=f"kernels {group}")


FAULTS = (
    kernel(
        "conv-without-stride-2",
        "1",
        CONV,
        LINEAR,
        "layer.run(source, stride * channels, result",
        "layer.run(source, channels, result",
    ),
    kernel(
        "no-head-split",
        "1",
        CROSS,
        ATTENTION,
        "source.unsafe_offset((row * n + t) * q_stride + head * HEAD)",
        "source.unsafe_offset((row * n + t) * q_stride)",
        quick=True,
    ),
    kernel(
        "the-newest-key-is-not-written",
        "1",
        SELF,
        ATTENTION,
        "            for t in range(n):\n                var k = qkv",
        "            for t in range(n - 1):\n                var k = qkv",
        quick=True,
    ),
    kernel(
        "position-off-by-one-behind-the-prompt",
        "1",
        EMBED,
        EMBEDDING,
        "load((past + t) * width + d)",
        "load((max(past - 1, 0) + t) * width + d)",
        quick=True,
    ),
    kernel(
        "conv-taps-on-one-frame",
        "2",
        CONV,
        FUSED,
        "packed(name, tensor.transpose(0, 2, 1)",
        "packed(name, (tensor.sum(2, keepdims=True) * np.array([0, 1, 0])).transpose(0, 2, 1)",
    ),
    kernel(
        "scale-of-a-head-of-128",
        "2",
        CROSS,
        HEADS,
        "comptime SCALE = Float32(0.125)",
        "comptime SCALE = Float32(0.08838834764831845)",
    ),
    kernel(
        "attends-the-future",
        "2",
        SELF,
        ATTENTION,
        "var count = past + t + 1",
        "var count = length",
    ),
    kernel(
        "first-rows-instead-of-those-asked-for",
        "2",
        EMBED,
        EMBEDDING,
        "var t = Int(at.unsafe_ptr().unsafe_load(i))",
        "var t = i * Int(at.unsafe_ptr().unsafe_load(i) >= 0) % n",
    ),
    kernel(
        "residual-of-the-first-rows",
        "2",
        f"{ROWS}[fused-residual]",
        LAYER,
        "layer.residual.unsafe_offset(row * layer.n),",
        "layer.residual,",
    ),
    kernel(
        "every-row-hears-the-first-window",
        "3",
        CROSS,
        ATTENTION,
        "(Int(window.unsafe_load(row)) * heads + head)",
        "(Int(window.unsafe_load(row)) * 0 + head)",
    ),
    kernel(
        "keys-of-the-rows-own-slot",
        "3",
        SELF,
        ATTENTION,
        "var at = ((Int(slots_here.unsafe_load(p)) * heads + head) * positions + p) * HEAD\n"
        "                    scores.unsafe_store",
        "var at = ((row * heads + head) * positions + p) * HEAD\n"
        "                    scores.unsafe_store",
    ),
    kernel(
        "gelu-a-little-off",
        "3",
        (f"{ROWS}[fused-norm_gelu]", CONV),
        LAYER,
        "Float32(0.7071067811865476)",
        "Float32(0.7072)",
    ),
    Fault(
        "zero-filled-slots-are-attended",
        "kernels",
        HEADS,
        "scores.unsafe_store(i, Float32.MIN)",
        "scores.unsafe_store(i, 0)",
        KERNELS,
        (SELF, CROSS),
    ),
    Fault(
        "norm-with-epsilon-1e-6",
        "kernels",
        LAYER,
        "comptime EPSILON = Float32(1e-5)",
        "comptime EPSILON = Float32(1e-6)",
        KERNELS,
        (f"{ROWS}[fused-layer_norm]",),
    ),
    Fault(
        "a-ragged-end-of-products-dropped",
        "kernels",
        "maxwhisper_impl/kernels/mojo/tile.mojo",
        "for p in range(k - k % UNROLLED, k):",
        "for p in range(k, k):",
        KERNELS,
        (CONV, CROSS),
    ),
    Fault(
        "packed-panels-misplaced-at-the-end",
        "kernels",
        PACKING,
        "packed[full, :, : n % PANEL] = weight[full * PANEL :].T",
        "packed[full, :, PANEL - n % PANEL :] = weight[full * PANEL :].T",
        (f"tests/parity/{FILE}::test_packing_keeps_every_weight",),
        (f"{FILE}::test_packing_keeps_every_weight",),
        quick=True,
    ),
)
