"""Checkpoints of every format, and where they are found."""

from tests.teeth.fault import Fault

W = "maxwhisper_impl/weights/"
PT, HF, CT2, CT2_FILE, NPZ, TENSORS, FILES, CHECKPOINT, PACKAGES, HASHES, OFFICIAL, SEEDED = (
    f"{W}{name}.py"
    for name in (
        "openai_pt",
        "huggingface",
        "ctranslate2",
        "ct2_file",
        "npz",
        "safetensors_file",
        "files",
        "checkpoint",
        "packages",
        "hashes",
        "official",
        "random_weights",
    )
)
T = "tests/parity/test_"
PAIRS = f"{T}checkpoints.py::test_every_pair_of_formats_converts_bit_for_bit"
ALL, BAD, BAD_FILES, NAMES, BIN, INTERCHANGE = (
    f"{T}{name}.py"
    for name in (
        "checkpoints",
        "bad_checkpoints",
        "bad_checkpoint_files",
        "checkpoint_names",
        "model_bin",
        "checkpoint_interchange",
    )
)


def weights(name: str, file: str, before: str, after: str, tests: tuple[str, ...], *speaks: str, quick: bool = False,
            ) -> Fault:  # fmt: skip
    return Fault(name, "weights", file, before, after, tests, speaks, quick=quick)


FAULTS = (
    weights(
        "pt-query-and-value-exchanged",
        PT,
        "    ordered = {name: tensors[name] for name in expected_shapes(dims)}",
        "    ordered = {\n"
        '        name: tensors[name.replace("0.attn.query.weight", "0.attn.value.weight")]\n'
        "        for name in expected_shapes(dims)\n"
        "    }",
        (ALL,),
        "test_checkpoints.py::test_every_pair_of_formats_converts_bit_for_bit[float16-pt-*",
        "test_checkpoints.py::test_every_pair_of_formats_converts_bit_for_bit[float32-pt-*",
        quick=True,
    ),
    weights(
        "a-pickle-may-run",
        PT,
        "weights_only=True",
        "weights_only=False",
        (BAD_FILES,),
        "test_bad_checkpoint_files.py::test_a_pickle_that_runs_code_does_not_run",
        quick=True,
    ),
    weights(
        "strides-believed",
        PT,
        "    if claimed > size:",
        "    if False:",
        (BAD_FILES,),
        "test_bad_checkpoint_files.py::test_a_tensor_blown_up_by_its_strides",
    ),
    weights(
        "hf-norms-exchanged",
        HF,
        '(".cross_attn_ln", ".encoder_attn_layer_norm"),\n    (".attn_ln", ".self_attn_layer_norm"),',
        '(".cross_attn_ln", ".self_attn_layer_norm"),\n    (".attn_ln", ".encoder_attn_layer_norm"),',
        (INTERCHANGE, ALL),
        "test_checkpoint_interchange.py::test_hugging_face_names_are_those_of_transformers",
        "test_checkpoints.py::*",
    ),
    weights(
        "ct2-value-before-key",
        CT2,
        '"query key value", "out")\n    parts |= _norm',
        '"query value key", "out")\n    parts |= _norm',
        (INTERCHANGE, ALL),
        "test_checkpoint_interchange.py::test_*",
        "test_checkpoints.py::test_the_real_models_are_whole_and_known",
    ),
    weights(
        "ct2-key-bias-overlooked",
        CT2,
        "        elif tensor.any():",
        "        elif False:",
        (BIN,),
        "test_model_bin.py::test_a_key_bias_that_is_not_zero",
    ),
    weights(
        "ct2-quantised-taken",
        CT2,
        'if name.endswith("_scale")]:',
        "if False]:",
        (BIN,),
        "test_model_bin.py::test_unknown_attributes_and_quantised_weights",
    ),
    weights(
        "ct2-aliases-in-circles",
        CT2_FILE,
        "if name not in aliases or len(path) > len(aliases):",
        "if name not in aliases:",
        (BIN,),
        "test_model_bin.py::test_model_bin_that_contradicts_itself",
    ),
    weights(
        "npz-checksums-ignored",
        NPZ,
        "        while piece := file.read(1 << 20):",
        "        file._expected_crc = None\n        while piece := file.read(1 << 20):",
        (BAD_FILES,),
        "test_bad_checkpoint_files.py::test_a_byte_of_an_npz_that_its_checksum_does_not_cover",
    ),
    weights(
        "safetensors-gaps-accepted",
        TENSORS,
        "            if begin != at:",
        "            if begin < at:",
        (BAD_FILES,),
        "test_bad_checkpoint_files.py::test_safetensors_headers_that_contradict_the_file",
    ),
    weights(
        "safetensors-read-a-value-late",
        TENSORS,
        "array = read_array(file, 8 + length + begin, dtype, shape)",
        "array = read_array(file, 8 + length + max(begin - dtype.itemsize, 0), dtype, shape)",
        (ALL, INTERCHANGE),
        "test_checkpoint*.py::test_*",
    ),
    weights(
        "bfloat16-shifted-too-little",
        FILES,
        "bits.astype(np.uint32) << 16",
        "bits.astype(np.uint32) << 15",
        (ALL,),
        "test_checkpoints.py::test_bfloat16_is_widened_exactly",
    ),
    weights(
        "names-given-twice-accepted",
        FILES,
        "    if len(found) != len(pairs):",
        "    if False:",
        (BAD_FILES,),
        "test_bad_checkpoint_files.py::test_a_safetensors_header_that_names_a_tensor_twice",
    ),
    weights(
        "nan-in-float16-overlooked",
        CHECKPOINT,
        "int((piece & 0x7C00).max()) < 0x7C00",
        "int((piece & 0x7C00).max()) <= 0x7C00",
        (BAD,),
        "test_bad_checkpoints.py::test_*finite*",
        "test_bad_checkpoints.py::test_every_tensor_that_does_not_fit_is_listed_in_one_error",
    ),
    weights(
        "extra-tensors-ignored",
        CHECKPOINT,
        '"extra": [name for name in tensors if name not in expected],',
        '"extra": [],',
        (BAD,),
        "test_bad_checkpoints.py::test_every_tensor_that_does_not_fit_is_listed_in_one_error",
    ),
    weights(
        "a-tampered-package-is-used",
        PACKAGES,
        "        if (found := hashes.sha256(folder / file)) != sha256:",
        "        if not (found := hashes.sha256(folder / file)):",
        (NAMES,),
        "test_checkpoint_names.py::test_a_tampered_package_is_refused_before_it_is_read",
        quick=True,
    ),
    weights(
        "a-changed-file-keeps-its-hash",
        HASHES,
        'known.get("identity") == before and known',
        "known",
        (NAMES,),
        "test_checkpoint_names.py::test_a_hash_is_remembered_only_while_the_file_is_unchanged",
    ),
    weights(
        "alignment-heads-transposed",
        OFFICIAL,
        "tuple((int(layer), int(head)) for layer, head in np.argwhere(rows))",
        "tuple((int(layer), int(head)) for head, layer in np.argwhere(rows))",
        (NAMES,),
        "test_checkpoint_names.py::test_alignment_heads_and_checksums_are_openai_whispers",
        "test_checkpoint_names.py::test_an_official_name_tells_the_alignment_heads",
    ),
    weights(
        "random-weights-of-any-seed",
        SEEDED,
        "np.random.Generator(np.random.SFC64(seed))",
        "np.random.Generator(np.random.SFC64(0))",
        (ALL,),
        "test_checkpoints.py::test_random_models_are_reproducible_and_differ_by_seed",
    ),
    weights(
        "a-half-written-file-is-found",
        FILES,
        "        draft = folder / target.name\n",
        "        draft = target\n",
        (NAMES,),
        "test_checkpoint_names.py::test_a_*",
    ),
)
