"""Fuzzed checkpoints of every format: damaged bytes, and files whose fields contradict each other on purpose."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from maxwhisper_impl.errors import CheckpointError
from maxwhisper_impl.weights import FORMATS, Checkpoint, convert, expected_shapes, load_checkpoint
from maxwhisper_impl.weights.checkpoint import check_tensors
from maxwhisper_impl.weights.huggingface import INDEX, WEIGHTS
from tests.fuzz import damage, forged
from tests.fuzz.case import Case, demand, part_of
from tests.parity.broken_checkpoints import rewrite
from tests.parity.small_checkpoints import DIMS, assert_same, save, small, weights_file

SHARDED = "sharded"
KINDS = (*FORMATS, SHARDED)


class Checkpoints:
    name = "checkpoints"
    share = 0.25
    seconds = 30.0
    memory = 96 << 20

    def prepare(self, folder: Path) -> None:
        import torch  # noqa: F401  # here, or the first case would pay for it

        self.whole: dict[str, Checkpoint] = {"float16": small(), "float32": small("float32")}
        self.seeds: dict[tuple[str, str], Path] = {}
        for dtype, checkpoint in self.whole.items():
            inside = folder / dtype
            inside.mkdir(exist_ok=True)
            for kind in FORMATS:
                path = inside / f"model-{kind}{'.' + kind if kind in ('pt', 'npz') else ''}"
                self.seeds[kind, dtype] = path if path.exists() else save(checkpoint, inside, kind)
            self.seeds[SHARDED, dtype] = shard(self.seeds["huggingface", dtype], inside / SHARDED)
        for path in self.seeds.values():
            load_checkpoint(path)

    def run(self, case: Case) -> str:
        kind, dtype = case.one_of(KINDS), case.one_of(list(self.whole))
        case.note(kind, dtype)
        seed = self.seeds[kind, dtype]
        path = case.given / seed.name
        shutil.copytree(seed, path) if seed.is_dir() else shutil.copy(seed, path)
        harm = part_of(self.kinds(kind), case)
        harm(case, kind, path)
        before = sorted(case.given.rglob("*"))
        checkpoint = self.load(case, path)
        demand(sorted(case.given.rglob("*")) == before, "changed the files beside the checkpoint")
        check_tensors(checkpoint.tensors, expected_shapes(checkpoint.dims), path)
        if harm == self.nothing or (kind == "npz" and harm == self.bytes_of_file and checkpoint.dims == DIMS):
            self.same(checkpoint, self.whole[dtype])  # of .npz every member has a checksum
        if harm == self.nothing and kind != SHARDED:
            self.converted(case, path, self.whole[dtype])
        return "text"

    def kinds(self, kind: str) -> list[tuple[float, Any]]:
        own: dict[str, list[tuple[float, Any]]] = {
            "pt": [(25, forged.pickles), (15, forged.torch_objects)],
            "huggingface": [(30, forged.safetensors), (15, self.configuration)],
            "ctranslate2": [(30, forged.ct2), (6, self.configuration)],
            "npz": [(35, forged.npz)],
            SHARDED: [(30, forged.shards), (10, self.configuration)],
        }
        tensors: list[tuple[float, Any]] = [] if kind == SHARDED else [(15, self.tensors)]
        return [*own[kind], *tensors, (40, self.bytes_of_file), (2, self.nothing), (4, self.other_files)]

    def load(self, case: Case, path: Path) -> Checkpoint:
        size = sum(file.stat().st_size for file in case.given.rglob("*") if file.is_file())
        case.allowance = 10 * size
        try:
            return load_checkpoint(path, download=False)
        except CheckpointError as error:
            demand(path.name in str(error), f"the error does not name the file: {error}")
            raise
        finally:
            demand(not (case.made / "ran").exists(), "a pickle was run")

    def nothing(self, case: Case, kind: str, path: Path) -> None:
        pass

    def bytes_of_file(self, case: Case, kind: str, path: Path) -> None:
        files = [path] if path.is_file() else sorted(path.iterdir())
        weights = [file for file in files if file.suffix != ".json"]
        file = case.one_of(weights if case.chance(0.8) else files)
        file.write_bytes(damage.damaged(case.random, file.read_bytes()))

    def tensors(self, case: Case, kind: str, path: Path) -> None:
        """Some are lost, added, of another shape or dtype, or hold what is no number."""

        def change(tensors: dict[str, np.ndarray]) -> None:
            for _ in range(case.random.randint(1, 4)):
                name = case.one_of(sorted(tensors))
                how = case.one_of(("lose", "add", "shape", "dtype", "nan", "empty", "scalar"))
                case.note(how, name)
                _change(case, tensors, name, how)

        rewrite(path, kind, change)

    def configuration(self, case: Case, kind: str, path: Path) -> None:
        file = case.one_of(sorted(path.glob("*config.json")))
        text = file.read_text()
        config = json.loads(text)
        for _ in range(case.random.randint(1, 3)):
            config[case.one_of([*config, "x", ""])] = forged.value(case)
        text = json.dumps(config)
        if case.chance(0.2):
            text = case.one_of(
                ("[" * 100_000, "1" * 10_000, "null", '{"a":1,"a":2}', text[: len(text) // 2], "{}", "\ufeff{}")
            )
        file.write_bytes(text.encode("utf-8", "surrogatepass"))

    def other_files(self, case: Case, kind: str, path: Path) -> None:
        """Names that are folders, links that lead nowhere or in a circle, two formats in one folder."""
        file = weights_file(path) if kind != SHARDED else path / INDEX
        content = file.read_bytes()
        how = case.one_of(("folder", "lost link", "circle", "gone", "both", "unreadable link"))
        case.note(how)
        if how == "both" and path.is_dir():
            (path / case.one_of(("model.bin", WEIGHTS, INDEX, "pytorch_model.bin"))).write_bytes(content)
            return
        file.unlink()
        if how == "folder":
            file.mkdir()
        elif how != "gone":
            target = {"lost link": "nowhere", "circle": file.name, "unreadable link": "/proc/self/mem"}
            file.symlink_to(target.get(how, "nowhere"))

    def same(self, got: Checkpoint, want: Checkpoint) -> None:
        try:
            assert_same(got, want)
        except AssertionError as error:
            demand(False, f"loaded as another checkpoint: {error}")

    def converted(self, case: Case, path: Path, want: Checkpoint) -> None:
        kind = case.one_of(list(FORMATS))
        out = case.made / f"out{'.' + kind if kind in ('pt', 'npz') else ''}"
        convert(path, out, format=kind)
        self.same(load_checkpoint(out), want)


def _change(case: Case, tensors: dict[str, np.ndarray], name: str, how: str) -> None:
    tensor = tensors[name]
    if how == "lose" and len(tensors) > 1:
        del tensors[name]
    elif how == "add":
        tensors[case.one_of((f"{name}.x", "x", "decoder/embeddings/weight_scale", "dims.n_mels", "ä" * 30))] = (
            tensor.copy()
        )
    elif how == "shape" and tensor.size:
        tensors[name] = tensor.reshape(case.one_of(((-1,), (1, -1), (-1, 1)))).copy()
    elif how == "dtype":
        kind = case.one_of((np.float32, np.float16, np.int8, np.int32, np.int16))
        with np.errstate(invalid="ignore", over="ignore"):
            tensors[name] = tensor.astype(kind)
    elif how == "nan" and tensor.dtype.kind == "f" and tensor.size:
        tensors[name] = tensor.copy()
        tensors[name].reshape(-1)[case.random.randrange(tensor.size)] = case.one_of((np.nan, np.inf, -np.inf))
    elif how == "empty" and tensor.ndim:
        tensors[name] = tensor[:0].copy()
    elif how == "scalar":
        tensors[name] = np.array(case.one_of((0, 1, 99)), case.one_of((np.int8, np.int16, np.float32)))


def shard(whole: Path, into: Path) -> Path:
    """A Hugging Face folder whose weights are in two files and an index."""
    from safetensors.numpy import load_file, save_file

    if into.is_dir():
        return into
    shutil.copytree(whole, into)
    tensors = load_file(into / WEIGHTS)
    (into / WEIGHTS).unlink()
    names, parts = sorted(tensors), {}
    for number, chosen in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in chosen}, into / file)
        parts |= dict.fromkeys(chosen, file)
    (into / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": parts}))
    return into
