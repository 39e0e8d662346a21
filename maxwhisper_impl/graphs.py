"""The graphs of one model, compiled together once and kept for every later process.

A compiled artifact depends on dims, kernels, device and dtype, not on weights: one serves every checkpoint of its dims.
"""

import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from max.driver import DLPackArray
from max.dtype import DType
from max.engine import CompiledModel, InferenceSession, Model
from max.graph import BufferType, DeviceRef, Graph, Module, TensorType, TensorValue
from max.graph.graph import KernelLibrary

from .dims import ModelDimensions
from .errors import CheckpointError
from .model import Ops, Rows, Taps, audio_encoder, cross_keys_values, text_decoder
from .status import warn
from .weights.files import whole
from .weights.hashes import cache_folder

Progress = Callable[[str], object]


class Graphs:
    """Stages "encoder", "cross" and "decoder" for one set of ops; `taps` adds each layer's output to the results."""

    def __init__(self, dims: ModelDimensions, ops: Ops, device: DeviceRef, taps: bool = False):
        self.dims, self.ops, self.device = dims, ops, device
        self.library = KernelLibrary()
        self.library.load_paths(ops.extensions)
        self.module = Module()
        self.taps: dict[str, list[str]] = {"encoder": [], "decoder": []}
        self._encoder(taps)
        self._cross()
        self._decoder(taps)

    def _graph(self, name: str, inputs: list[Any]) -> Graph:
        return Graph(name, input_types=inputs, module=self.module, kernel_library=self.library)

    def _tensor(self, *shape: int | str, dtype: DType = DType.float32) -> TensorType:
        return TensorType(dtype, shape, self.device)

    def _ids(self, *shape: int | str) -> TensorType:
        return self._tensor(*shape, dtype=DType.int32)

    def _finish(self, graph: Graph, results: list[TensorValue], taps: Taps, tapped: bool) -> None:
        self.taps[graph.name] = list(taps) if tapped else []
        graph.output(*results, *(taps.values() if tapped else ()))

    def _encoder(self, tapped: bool) -> None:
        dims, taps = self.dims, Taps()
        mel = self._tensor("batch", dims.n_mels, 2 * dims.n_audio_ctx)
        with self._graph("encoder", [mel, self._ids("batch")]) as graph:
            mel, windows = (value.tensor for value in graph.inputs)
            self._finish(graph, [audio_encoder(self.ops, dims, mel, windows, taps)], taps, tapped)

    def _cross(self) -> None:
        dims = self.dims
        with self._graph("cross", [self._tensor("batch", dims.n_audio_ctx, dims.n_audio_state)]) as graph:
            graph.output(*cross_keys_values(self.ops, dims, graph.inputs[0].tensor))

    def _decoder(self, tapped: bool) -> None:
        dims, taps = self.dims, Taps()
        n = dims.n_text_layer
        shapes = ["rows", "n"], ["rows", "length"], ["rows"], ["picked"], ["chosen", 5]
        inputs: list[Any] = [self._ids(*shape) for shape in shapes]
        inputs += [self._tensor(dims.n_vocab, dtype=DType.uint8)]
        inputs += [self._tensor("batch", *self.ops.cross_shape(dims), dtype=self.ops.cross_dtype) for _ in range(n)]
        cache = BufferType(self.ops.cache_dtype, self.ops.cache_shape(dims, "slots"), self.device)
        inputs += [cache] * n
        with self._graph("decoder", inputs) as graph:
            tokens, source, windows, at, ranges, suppressed, *cross = (v.tensor for v in graph.inputs[: 6 + n])
            caches = [value.buffer for value in graph.inputs[6 + n :]]
            rows = Rows(tokens, source, windows, at, ranges, suppressed, cross, caches)
            self._finish(graph, text_decoder(self.ops, dims, rows, taps), taps, tapped)


def load(session: InferenceSession, dims: ModelDimensions, ops: Ops, weights: Mapping[str, DLPackArray],
         device: DeviceRef, progress: Progress, taps: bool = False) -> tuple[dict[str, Model], list[str]]:
    """The graphs "encoder", "cross" and "decoder", from the cache or compiled and then kept there; the taps' names."""
    artifact = cache_folder() / "graphs" / f"{fingerprint(dims, ops, device, taps)}.mef"
    kept = artifact.is_file()
    graphs = None if kept and not taps else Graphs(dims, ops, device, taps)
    if graphs and not kept:
        compiled = compile_graphs(session, graphs, progress, artifact)
    else:
        compiled = session.compile(artifact)
    names = graphs.taps["encoder"] + graphs.taps["decoder"] if graphs else []
    return session.init_all(compiled, weights_registry=weights), names


def compile_graphs(session: InferenceSession, graphs: Graphs, progress: Progress, artifact: Path) -> CompiledModel:
    """Compiles, and writes the artifact; where it cannot be written, the next process compiles again."""
    takes = "about half a minute" if graphs.device.is_cpu() else "some minutes"
    progress(f"compiling the graphs for {graphs.device.device_type}; the first time takes {takes}")
    start = time.monotonic()
    compiled = session.compile(graphs.module, custom_extensions=graphs.library.library_paths())
    progress(f"compiled in {time.monotonic() - start:.0f} s")
    try:
        with whole(artifact) as draft:
            compiled.export_mef(draft)
    except (CheckpointError, OSError) as error:
        warn(f"the compiled graphs are not kept for the next time: {error}")
    return compiled


def fingerprint(dims: ModelDimensions, ops: Ops, device: DeviceRef, taps: bool) -> str:
    """Names an artifact by all that it depends on: sources, dims, kernels, MAX's version, the processor."""
    here = Path(__file__).parent
    sources = [here / "model.py", here / "graphs.py", *sorted((here / "kernels").rglob("*.py")),
               *sorted((here / "kernels").rglob("*.mojo"))]
    machine = [device, platform.machine(), _processor(), importlib.metadata.version("max")]
    stored = sorted((name, str(weight.dtype)) for name, weight in ops.weights.items())
    parts = [astuple(dims), type(ops).__name__, stored, str(ops.cross_dtype), str(ops.cache_dtype), taps, *machine]
    digest = hashlib.sha256(repr(parts).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:32]


def _processor() -> list[str]:
    """What the compiled code may use of this processor; two machines with one home folder must not share artifacts."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return [platform.processor()]
    return sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
