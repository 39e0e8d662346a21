"""The encoder, the decoder and what feeds them: layer tests have to name the layer. Random weights compile as fast."""

from tests.teeth.fault import Fault, judged

MODEL, FUSED, PACKING, RUNTIME = (
    f"maxwhisper_impl/{name}.py" for name in ("model", "kernels/fused", "kernels/packing", "runtime")
)
RANDOM = "random-128-mels"
LAYERS = ("tests/parity/test_encoder_layers.py", "tests/parity/test_decoder_layers.py")
CACHE, LOGITS, WORDS, GRAPHS = (
    f"tests/parity/test_{name}.py" for name in ("cache", "logits", "word_times", "graph_cache")
)
ENCODER, DECODER = (f"test_{side}_layers.py::test_layer[{RANDOM}-{side}." for side in ("encoder", "decoder"))


def layer(name: str, before: str, after: str, speaks: str, *, file: str = MODEL, quick: bool = False) -> Fault:
    stage = "encoder" if speaks.startswith("test_encoder") else "decoder"
    return Fault(name, stage, file, before, after, LAYERS, (f"{speaks}]",), RANDOM, quick)


def cached(name: str, before: str, after: str, *speaks: str, file: str = RUNTIME, quick: bool = False) -> Fault:
    return judged("cache", name, file, before, after, CACHE, *speaks, quick=quick, checkpoint=RANDOM)


FAULTS = (
    cached(
        "windows-of-the-step-before",
        "held[0] != what",
        "len(held[0]) != len(what)",
        "rows_are_reordered_repeated_and_dropped",
    ),
    layer(
        "encoder-without-ln-post",
        '    x = ops.layer_norm(x, "encoder.ln_post")\n',
        "",
        f"{ENCODER}ln_post",
    ),
    layer(
        "encoder-attention-without-residual",
        "attended = ops.attend(qkv, kv, windows, dims.n_audio_ctx)\n"
        '        taps[f"{block}.attn.out.input"] = attended\n'
        '        x = ops.linear(attended, f"{block}.attn.out", residual=x)',
        "attended = ops.attend(qkv, kv, windows, dims.n_audio_ctx)\n"
        '        taps[f"{block}.attn.out.input"] = attended\n'
        '        x = ops.linear(attended, f"{block}.attn.out")',
        f"{ENCODER}blocks.0.mlp_ln.input",
        quick=True,
    ),
    layer(
        "encoder-without-positions",
        "padded=padded, adds=not padded, portable",
        "padded=padded, adds=False, portable",
        f"{ENCODER}conv2",
        file=FUSED,
    ),
    layer(
        "mlp-behind-the-attentions-norm",
        'norm=f"{block}.mlp_ln", gelu=True)',
        'norm=f"{block}.attn_ln", gelu=True)',
        f"{ENCODER}blocks.0.mlp.1",
    ),
    layer(
        "a-bias-on-the-key",
        'tensors.get(f"{attn}.{part}.bias", none) for part in parts]',
        'tensors.get(f"{attn}.{part}.bias", tensors[f"{attn}.query.bias"]) for part in parts]',
        f"{ENCODER}blocks.0.attn.query+key+value",
        file=PACKING,
    ),
    layer(
        "decoder-logits-without-its-norm",
        'return self.linear(x, TABLE, norm="decoder.ln")',
        'return self.linear(x, TABLE)',
        "test_decoder_layers.py::test_layer[random-128-mels-logits",
        file=FUSED,
    ),
    layer(
        "decoder-listens-to-the-first-layers-keys",
        "rows.cross[i], rows.windows",
        "rows.cross[0], rows.windows",
        f"{DECODER}blocks.1.cross_attn.out.input",
    ),
    layer(
        "decoder-query-behind-another-norm",
        '"attn.out", "cross_attn_ln", "cross_attn.query"',
        '"attn.out", "attn_ln", "cross_attn.query"',
        f"{DECODER}blocks.0.cross_attn.query",
        file=FUSED,
    ),
    cached(
        "one-cache-for-all-layers",
        "ops.decoder_layer(x, block, rows.caches[i], rows.source",
        "ops.decoder_layer(x, block, rows.caches[0], rows.source",
        "any_split",
        file=MODEL,
    ),
    cached(
        "suppressed-tokens-of-an-earlier-step-kept",
        "or any(map(is_not, plan.suppressed, self._suppressed[0])):",
        "and not self._suppressed[0]:",
        "picked_is_what_the_logits_of_a_step_say",
        quick=True,
    ),
    cached(
        "beams-keep-their-windows",
        "        self.windows = self.windows[list(rows)]\n",
        "        self.windows = self.windows[: len(rows)]\n",
        "rows_are_reordered_repeated_and_dropped",
        quick=True,
    ),
    cached(
        "beams-keep-their-pasts",
        "        self.source = self.source[list(rows)]\n",
        "        self.source = self.source[: len(rows)]\n",
        "rows_are_reordered_repeated_and_dropped",
        quick=True,
    ),
    cached(
        "all-rows-write-one-slot",
        "self.source[:, self.length : end] = np.arange(rows)[:, None]",
        "self.source[:, self.length : end] = 0",
        "any_split",
    ),
    cached(
        "a-step-counts-one-token",
        "        self.length = end\n",
        "        self.length += 1\n",
        "any_split",
    ),
    cached(
        "windows-of-rows-interleaved",
        "windows = np.repeat(np.arange(len(features)), rows_per_window)",
        "windows = np.tile(np.arange(len(features)), rows_per_window)",
        "rows_are_reordered_repeated_and_dropped",
    ),
    cached(
        "last-position-refused",
        "if self.length + n > limit:",
        "if self.length + n >= limit:",
        "the_end_of_the_context",
    ),
    Fault(
        "cross-keys-of-the-first-window-kept",
        "cache",
        RUNTIME,
        "        return self._cross.execute(self.buffer)",
        '        Features.kept = getattr(Features, "kept", None) or self._cross.execute(self.buffer)\n'
        "        return Features.kept",
        (LOGITS,),
        ("test_logits.py::test_a_batch_is_its_windows",),
        RANDOM,
        quick=True,
    ),
    Fault(
        "graphs-of-edited-kernels-kept",
        "cache",
        "maxwhisper_impl/graphs.py",
        "        digest.update(source.read_bytes())\n",
        "        digest.update(source.name.encode())\n",
        (GRAPHS,),
        ("test_graph_cache.py::test_every_source_is_in_the_name",),
        quick=True,
    ),
    Fault(
        "graphs-of-another-processor-kept",
        "cache",
        "maxwhisper_impl/graphs.py",
        "machine = [device, platform.machine(), _processor(), ",
        "machine = [device, platform.machine(), ",
        (GRAPHS,),
        ("test_graph_cache.py::test_all_else_that_graphs_depend_on_is_in_the_name",),
    ),
    Fault(
        "graphs-of-other-storage-kept",
        "cache",
        "maxwhisper_impl/graphs.py",
        "type(ops).__name__, stored, str",
        "type(ops).__name__, str",
        (GRAPHS,),
        ("test_graph_cache.py::test_all_else_that_graphs_depend_on_is_in_the_name",),
    ),
    Fault(
        "float32-weights-cut-to-halves",
        "kernels",
        "maxwhisper_impl/kernels/fused.py",
        "return np.float16 if read and weight.dtype == np.float16 else np.float32",
        "return np.float16 if read else np.float32",
        ("tests/parity/test_kernels.py::test_only_what_a_step_reads_is_stored_in_halves",),
        ("test_kernels.py::test_only_what_a_step_reads_is_stored_in_halves",),
    ),
    Fault(
        "graphs-compiled-every-time",
        "cache",
        "maxwhisper_impl/graphs.py",
        "    kept = artifact.is_file()\n",
        "    kept = False\n",
        (GRAPHS,),
        ("test_graph_cache.py::test_graphs_are_compiled_once",),
    ),
    Fault(
        "cross-scores-unscaled",
        "decoder",
        RUNTIME,
        "head * HEAD : (head + 1) * HEAD] * HEAD**-0.5",
        "head * HEAD : (head + 1) * HEAD]",
        (f"{WORDS}::test_scores",),
        ("test_word_times.py::test_scores",),
    ),
    Fault(
        "alignment-heads-of-all-layers",
        "timing",
        RUNTIME,
        "upper = range(dims.n_text_layer // 2, dims.n_text_layer)",
        "upper = range(dims.n_text_layer)",
        (f"{WORDS}::test_alignment_heads",),
        ("test_word_times.py::test_alignment_heads",),
        RANDOM,
    ),
)
