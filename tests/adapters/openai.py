"""openai-whisper behind the suite's Protocol; in float32 the oracle, in float64 the yardstick of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
import whisper
from whisper.audio import N_SAMPLES
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.tokenizer import Tokenizer, get_tokenizer

from tests.implementations import Decoded, tap_names

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def build(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> whisper.Whisper:
    """openai-whisper's module with exactly the checkpoint's values."""
    module = whisper.Whisper(whisper.ModelDimensions(**asdict(checkpoint.dims)))
    module.load_state_dict(
        {k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in checkpoint.tensors.items()}, strict=True
    )
    if checkpoint.alignment_heads:
        mask = torch.zeros(checkpoint.dims.n_text_layer, checkpoint.dims.n_text_head, dtype=torch.bool)
        for layer, head in checkpoint.alignment_heads:
            mask[layer, head] = True
        module.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    if dtype is torch.float64:
        module = module.double()
        for norm in (m for m in module.modules() if isinstance(m, torch.nn.LayerNorm)):
            norm.forward = partial(torch.nn.LayerNorm.forward, norm)  # openai's own rounds to float32 inside
    return module.eval().requires_grad_(False)


class OpenAI:
    """`torch` is openai-whisper's own model, for tests that compare with its internals."""

    capabilities = frozenset(
        {"encode", "logits", "decode", "detect_language", "transcribe", "words", "taps", "options"}
    )

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu", dtype: str = "float32"):
        if dtype not in DTYPES:
            raise ValueError(f"openai-whisper is tested in {' and '.join(DTYPES)}, not in {dtype}")
        self.checkpoint, self.dims = checkpoint, checkpoint.dims
        self.dtype, self.device = DTYPES[dtype], torch.device(device)
        self.torch = build(checkpoint, self.dtype).to(self.device)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self.dtype)

    def _tokens(self, tokens: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(tokens, np.int64)).to(self.device)

    def mel(self, audio: np.ndarray) -> np.ndarray:
        return whisper.log_mel_spectrogram(whisper.pad_or_trim(audio), self.dims.n_mels).numpy()

    def long_mel(self, audio: np.ndarray) -> np.ndarray:
        return whisper.log_mel_spectrogram(audio, self.dims.n_mels, padding=N_SAMPLES).numpy()

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return self.torch.encoder(self._tensor(mel)).cpu().numpy()

    def logits(self, tokens: np.ndarray, features: np.ndarray) -> np.ndarray:
        return self.torch.logits(self._tokens(tokens), self._tensor(features)).cpu().numpy()

    def decode(self, mel: np.ndarray, **options: Any) -> list[Decoded]:
        results = whisper.decode(self.torch, self._tensor(mel), DecodingOptions(**{"fp16": False, **options}))
        return [
            Decoded([int(t) for t in r.tokens], r.text, r.language, float(r.avg_logprob), r.no_speech_prob)
            for r in results
        ]

    def detect_language(self, mel: np.ndarray) -> list[dict[str, float]]:
        return whisper.detect_language(self.torch, self._tensor(mel))[1]

    def transcribe(self, audio: np.ndarray, **options: Any) -> Mapping[str, Any]:
        return whisper.transcribe(self.torch, audio, verbose=None, **{"fp16": False, **options})

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return get_tokenizer(self.torch.is_multilingual, num_languages=self.torch.num_languages)

    @property
    def eot(self) -> int:
        return self._tokenizer.eot

    def token_text(self, token: int) -> str:
        return self._tokenizer.decode_with_timestamps([token])

    def initial_tokens(self, **options: Any) -> tuple[int, ...]:
        return tuple(DecodingTask(self.torch, DecodingOptions(fp16=False, **options)).initial_tokens)

    def filtered(self, logits: np.ndarray, tokens: list[int], **options: Any) -> np.ndarray:
        """`logits` [n_vocab] of the step behind `tokens` after the oracle's own logit filters for `options`."""
        row = torch.from_numpy(np.array(logits, np.float32, ndmin=2))
        for rule in DecodingTask(self.torch, DecodingOptions(fp16=False, **options)).logit_filters:
            rule.apply(row, torch.tensor([tokens]))
        return row[0].numpy()

    def taps(self, mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Every tap of `tap_names`, and `decoder.ln`. Frames are [batch, position, channel]; conv1 is behind its GELU,
        conv2 behind GELU and positions, `a+b` is the outputs of a and b side by side, `x.input` what goes into x."""
        seen: dict[str, torch.Tensor] = {}
        handles = [self._hook(name, module, seen) for name, module in self.torch.named_modules() if name]
        try:
            seen["logits"] = self.torch(self._tensor(mel), self._tokens(tokens))
        finally:
            for handle in handles:
                handle.remove()
        if self.dtype is torch.float64:  # the module rounds its logits to float32
            seen["logits"] = seen["decoder.ln"] @ self.torch.decoder.token_embedding.weight.T
        seen["encoder.conv1"] = F.gelu(seen["encoder.conv1"]).transpose(1, 2)
        seen["encoder.conv2"] = seen["encoder.blocks.0.input"]
        seen["decoder.embedding"] = seen["decoder.blocks.0.input"]
        return {name: _joined(seen, name).numpy(force=True) for name in (*tap_names(self.dims), "decoder.ln")}

    @staticmethod
    def _hook(name: str, module: torch.nn.Module, seen: dict[str, torch.Tensor]) -> Any:
        def save(_module: torch.nn.Module, inputs: Any, output: Any) -> None:
            seen[f"{name}.input"] = inputs[0]
            seen[name] = output[0] if isinstance(output, tuple) else output

        return module.register_forward_hook(save)


def _joined(seen: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    parent, _, parts = name.rpartition(".")
    return torch.cat([seen[f"{parent}.{part}"] for part in parts.split("+")], dim=-1) if "+" in parts else seen[name]
