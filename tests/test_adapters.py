"""The systems that are compared are what their names say: none computes with another's code, none hides a failure."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maxwhisper_impl.threads import available_cpus
from maxwhisper_impl.weights import random_checkpoint
from tests.implementations import IMPLEMENTATIONS
from tests.random_weights import RANDOM_DIMS

ADAPTERS = Path(__file__).parent / "adapters"
PEERS = ("openai.py", "faster.py")
MODULES = {"openai-whisper": "openai", "faster-whisper": "faster", "maxwhisper_impl": "ours"}


def parsed(adapter: str) -> ast.Module:
    return ast.parse((ADAPTERS / adapter).read_text())


@pytest.mark.parametrize("adapter", PEERS)
def test_no_peer_adapter_computes_with_our_code(adapter: str) -> None:
    tree = parsed(adapter)
    typing_only = {
        n
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for n in ast.walk(node)
    }
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) and n not in typing_only]
    modules = [n.module or "" for n in imports if isinstance(n, ast.ImportFrom)] + [
        a.name for n in imports if isinstance(n, ast.Import) for a in n.names
    ]
    assert imports
    assert not [m for m in modules if m.startswith(("maxwhisper_impl", "tests.adapters.ours", "importlib"))]


@pytest.mark.parametrize("adapter", [*PEERS, "ours.py"])
def test_no_adapter_hides_a_failure(adapter: str) -> None:
    """Nothing is caught, so nothing can take the place of what failed; and nothing is random."""
    tree = parsed(adapter)
    finallys = (ast.Try, ast.TryStar)
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, finallys) and node.handlers]
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "random"]


def test_what_an_implementation_cannot_do_is_skipped_and_ours_can_do_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test needs of it; of the oracle what tests need of an oracle."""
    from tests.adapters.openai import OpenAI
    from tests.adapters.ours import Ours
    from tests.parity.conftest import needs

    able: Any = SimpleNamespace(capabilities=frozenset({"decode", "words"}))
    monkeypatch.setattr(pytest, "skip", pytest.fail)
    needs(able, "decode", "words")
    with pytest.raises(pytest.fail.Exception, match="the implementation cannot show: cache, live"):
        needs(able, "live", "decode", "cache")
    asked: dict[str, set[str]] = {"model": set(), "oracle": set()}
    for path in ADAPTERS.parent.rglob("test_*.py"):
        for which, names in re.findall(r"\bneeds\((model|oracle), ([^)]*)\)", path.read_text()):
            asked[which] |= set(re.findall(r'"(\w+)"', names))
    assert asked["model"] <= Ours.capabilities
    assert asked["oracle"] <= OpenAI.capabilities <= Ours.capabilities
    assert len(asked["model"]) > 8


def test_each_system_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded under a name comes from the adapter of that name, with the checkpoint that was given."""
    import tests.adapters.faster
    import tests.adapters.openai
    import tests.adapters.ours

    class Loaded:
        def __init__(self, *given: object):
            self.given = given

    for module in (tests.adapters.faster, tests.adapters.openai, tests.adapters.ours):
        name = {"faster": "Faster", "openai": "OpenAI", "ours": "Ours"}[module.__name__.rpartition(".")[2]]
        monkeypatch.setattr(module, name, type(module.__name__.rpartition(".")[2], (Loaded,), {}))
    weights = random_checkpoint(RANDOM_DIMS, 1)
    assert set(MODULES) == set(IMPLEMENTATIONS)
    for name, module in MODULES.items():
        loaded = IMPLEMENTATIONS[name].load(weights, "cpu", "float32")
        assert type(loaded).__name__ == module
        assert loaded.given == (weights, "cpu", "float32", *([available_cpus()] if module == "faster" else []))
        assert IMPLEMENTATIONS[name].adapter == f"{module}.py"


def test_faster_whisper_is_at_its_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy, as ours and the oracle are, and on every CPU: else it would be raced with a handicap."""
    from tests.adapters import faster

    asked: list[dict[str, Any]] = []

    class Engine:
        feature_extractor = hf_tokenizer = None

        def __init__(self, folder: str, **given: Any):
            asked.append(given)
            self.model = SimpleNamespace(is_multilingual=False, generate=self.generate)

        def generate(self, features: Any, prompts: Any, **options: Any) -> Any:
            asked.append(options)
            return [SimpleNamespace(sequences_ids=[[1]], scores=[-1.0], no_speech_prob=0.0)]

        def get_prompt(self, *given: Any) -> list[int]:
            return [1]

        def transcribe(self, audio: np.ndarray, **options: Any) -> Any:
            asked.append(options)
            return [], SimpleNamespace(language="en")

    monkeypatch.setattr(faster, "WhisperModel", Engine)
    monkeypatch.setattr(faster, "ctranslate2_folder", lambda checkpoint: Path("folder"))
    monkeypatch.setattr(faster, "Tokenizer", lambda *given, **more: SimpleNamespace(decode=str))
    monkeypatch.setattr(faster, "get_suppressed_tokens", lambda tokenizer, tokens: tokens)
    model = IMPLEMENTATIONS["faster-whisper"].load(random_checkpoint(RANDOM_DIMS, 1), "cpu", "int8")
    model.transcribe(np.zeros(9), language="en", temperature=0.0, logprob_threshold=-1.0, fp16=False)
    model.decode(np.zeros((1, 1500, 128), np.float32), language="en", temperature=0.0)
    made, heard, decoded = asked
    assert made == {"device": "cpu", "compute_type": "int8", "cpu_threads": available_cpus()}
    assert heard == {"beam_size": 1, "language": "en", "temperature": 0.0, "log_prob_threshold": -1.0}
    assert decoded["beam_size"] == 1


def test_the_oracle_has_exactly_the_checkpoints_values() -> None:
    """Every tensor, to the last bit of float32."""
    from tests.adapters.openai import build

    weights = random_checkpoint(RANDOM_DIMS, 1)
    state = build(weights).state_dict()
    assert set(state) == set(weights.tensors)
    for name, tensor in weights.tensors.items():
        assert np.array_equal(state[name].numpy(), tensor.astype(np.float32)), name
