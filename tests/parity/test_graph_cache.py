"""Compiled graphs are kept, and taken again only where nothing that they depend on has changed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from max.graph import DeviceRef

from maxwhisper_impl import graphs
from maxwhisper_impl.dims import SIZES
from maxwhisper_impl.kernels.fused import FusedOps
from maxwhisper_impl.kernels.stock import StockOps

PACKAGE = Path(graphs.__file__).parent
DIMS, CPU = SIZES["tiny.en"], DeviceRef.CPU()
WEIGHTS = {"decoder.ln.weight": np.zeros(4, np.float32), "decoder.mlp.0.weight": np.zeros((1, 4, 16), np.float32)}
HALVES = {name: tensor.astype(np.float16) if tensor.ndim > 1 else tensor for name, tensor in WEIGHTS.items()}
FUSED, STOCK, HALF = FusedOps(WEIGHTS, CPU), StockOps(WEIGHTS, CPU), FusedOps(HALVES, CPU)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources, which is taken for the package's own."""
    shutil.copytree(PACKAGE / "kernels", tmp_path / "kernels")
    for name in ("model.py", "graphs.py"):
        shutil.copy(PACKAGE / name, tmp_path)
    monkeypatch.setattr(graphs, "__file__", str(tmp_path / "graphs.py"))
    return tmp_path


def name(dims: Any = DIMS, ops: Any = FUSED, device: DeviceRef = CPU, taps: bool = False) -> str:
    return graphs.fingerprint(dims, ops, device, taps)


def test_every_source_is_in_the_name(package: Path) -> None:
    names = {name()}
    sources = [path for path in package.rglob("*") if path.suffix in (".py", ".mojo")]
    assert len(sources) >= 9
    for source in sources:
        source.write_text(source.read_text() + "#")
        names.add(name())
    assert len(names) == len(sources) + 1


def test_all_else_that_graphs_depend_on_is_in_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    deeper = dataclasses.replace(DIMS, n_text_layer=5)
    names = [name(), name(dims=deeper), name(ops=STOCK), name(ops=HALF), name(device=DeviceRef.GPU()), name(taps=True)]
    with monkeypatch.context() as patch:
        patch.setattr(graphs, "_processor", lambda: ["another"])
        names.append(name())
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda package: f"another {package}")
        names.append(name())
    assert len(set(names)) == len(names)
    assert name() == names[0]


class Session:
    """MAX's, as far as it is asked here."""

    def __init__(self) -> None:
        self.compiled: list[str] = []

    def compile(self, what: Any, **options: Any) -> Any:
        self.compiled.append("the artifact" if isinstance(what, Path) else what)
        return SimpleNamespace(export_mef=lambda path: Path(path).write_text("compiled"))

    def init_all(self, compiled: Any, weights_registry: Any) -> Any:
        return {"encoder": weights_registry}


def test_graphs_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    session: Any = Session()

    def stage(dims: Any, ops: Any, device: Any, taps: bool) -> Any:
        named = {"encoder": ["a"], "decoder": ["b"]} if taps else {"encoder": [], "decoder": []}
        return SimpleNamespace(device=CPU, module="the module", library=SimpleNamespace(library_paths=list), taps=named)

    monkeypatch.setattr(graphs, "Graphs", stage)

    def load(dims: Any = DIMS, taps: bool = False, **weights: Any) -> Any:
        return graphs.load(session, dims, FUSED, weights, CPU, lambda message: None, taps)

    assert load(w=1) == ({"encoder": {"w": 1}}, [])
    assert load(w=2) == ({"encoder": {"w": 2}}, []), "another checkpoint of the same dims"
    assert session.compiled == ["the module", "the artifact"]
    load(dims=SIZES["base"])
    assert load(taps=True)[1] == load(taps=True)[1] == ["a", "b"]
    assert session.compiled[2:] == ["the module", "the module", "the artifact"]


def test_a_system_without_a_list_of_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processor's name is in the name."""
    missing = SimpleNamespace(read_text=lambda: (_ for _ in ()).throw(FileNotFoundError()))
    monkeypatch.setattr(graphs, "Path", lambda path: missing)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert graphs._processor() == ["arm"]
