"""Our kernels, each op by itself. Those of a group are compiled together: one for each op at most."""

from tests.teeth.fault import Fault

FUSED = "maxwhisper_impl/kernels/fused.py"
PACKING = "maxwhisper_impl/kernels/packing.py"
MOJO = (
    "attention", "causal", "decoder", "embedding", "heads", "layer", "linear", "logits", "nibbles", "pack_heads",
    "pick", "softmax", "tile_words", "words",
)  # fmt: skip
PLACES = [f"maxwhisper_impl/kernels/mojo/{name}.mojo" for name in MOJO]
ATTENTION, CAUSAL, DECODER, EMBEDDING, HEADS, LAYER, LINEAR = PLACES[:7]
LOGITS, NIBBLES, PACK_HEADS, PICK, SOFTMAX, TILE_WORDS, WORDS = PLACES[7:]
FILE = "test_kernels.py"
CONV, CROSS, SELF, EMBED, ROWS, PICKED = (
    f"{FILE}::test_{name}"
    for name in (
        "convolutions",
        "attention_over_a_window",
        "decoder_layer",
        "embedding_and_picked_rows",
        "linear",
        "picked_tokens",
    )
)


def tests_of(kernels: str) -> tuple[str, ...]:
    """Those that compile one set of kernels once, for float32 weights."""
    linear = (f"{ROWS}[{kernels}-{op}]" for op in ("layer_norm", "plain", "norm_gelu", "residual", "vocabulary"))
    others = (f"{test}[{kernels}]" for test in (CONV, CROSS, SELF, EMBED, PICKED))
    return tuple(f"tests/parity/{test}" for test in (*linear, *others))


KERNELS = tests_of("fused")


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
        "x.unsafe_offset((row * n + t) * x_stride + head * HEAD)",
        "x.unsafe_offset((row * n + t) * x_stride)",
        quick=True,
    ),
    kernel(
        "the-newest-key-is-not-written",
        "1",
        SELF,
        CAUSAL,
        "        for t in range(n):\n            var k = qkv",
        "        for t in range(n - 1):\n            var k = qkv",
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
        CAUSAL,
        "self.length - n + t + 1, scores",
        "self.length, scores",
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
        "self.residual.unsafe_offset(at), 0, groups)",
        "self.residual, 0, groups)",
    ),
    kernel(
        "every-row-hears-the-first-window",
        "3",
        CROSS,
        ATTENTION,
        "(Int(self.windows.unsafe_load(row)) * self.heads + head)",
        "(Int(self.windows.unsafe_load(row)) * 0 + head)",
    ),
    kernel(
        "keys-of-the-rows-own-slot",
        "3",
        SELF,
        CAUSAL,
        "self.keys, self.at(slots, head, p))",
        "self.keys, self.at(slots.unsafe_offset(count - 1 - p), head, p))",
    ),
    kernel(
        "a-layer-adds-to-what-came-before-the-window",
        "4",
        SELF,
        DECODER,
        "adds=True, residual=room_of(both)",
        "adds=True, residual=room_of(said)",
    ),
    kernel(
        "values-of-the-rows-own-slot",
        "5",
        SELF,
        CAUSAL,
        "            var at = self.at(slots, head, p)\n            var weight",
        "            var at = self.at(slots.unsafe_offset(count - 1 - p), head, p)\n            var weight",
    ),
    kernel(
        "gelu-a-little-off",
        "3",
        (f"{ROWS}[fused-norm_gelu]", CONV),
        LAYER,
        "Float32(0.7071067811865476)",
        "Float32(0.7072)",
    ),
    kernel(
        "timestamps-win-by-the-likeliest-alone",
        "1",
        PICKED,
        PICK,
        "time[0] + log(times) > text[0]",
        "time[0] > text[0]",
    ),
    kernel(
        "suppressed-tokens-count-as-likely",
        "2",
        PICKED,
        PICK,
        "total += exp(allowed(logits, suppressed, i, stop) - top)",
        "total += exp(logits.unsafe_load[width=W](i) - top)",
    ),
    kernel(
        "the-last-of-equals-is-picked",
        "3",
        PICKED,
        PICK,
        "var better = here.gt(top)",
        "var better = here.ge(top)",
    ),
    kernel(
        "what-lies-behind-the-last-key-is-attended",
        "6",
        CROSS,
        HEADS,
        "is_key.select(row.unsafe_load[width=W](0), Vector(Float32.MIN))",
        "is_key.select(row.unsafe_load[width=W](0), Vector(0))",
    ),
    kernel(
        "a-higher-score-does-not-lessen-what-was-weighed",
        "7",
        CROSS,
        HEADS,
        "total.unsafe_load(0) * factor[0]",
        "total.unsafe_load(0)",
        quick=True,
    ),
    kernel(
        "frames-between-two-tasks-are-left",
        "4",
        CONV,
        EMBEDDING,
        "range(first, min(frames, first + AT_ONCE))",
        "range(first, min(frames, first + AT_ONCE - 1))",
    ),
    kernel(
        "each-block-of-keys-is-summed-alone",
        "8",
        CROSS,
        HEADS,
        "panel, padded, size, sums, HEAD, adds)",
        "panel, padded, size, sums, HEAD, False)",
    ),
    kernel(
        "the-nearest-keys-once-more-in-the-place-of-the-first",
        "4",
        CROSS,
        HEADS,
        "return place - BLOCK if place > 0 else nearest",
        "return place if place > 0 else nearest",
    ),
    Fault(
        "zero-filled-slots-are-attended",
        "kernels",
        CAUSAL,
        "scores.unsafe_store(i, Float32.MIN)",
        "scores.unsafe_store(i, 0)",
        KERNELS,
        (SELF,),
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
