"""openai-whisper on PyTorch, in float32 as it is, and in bfloat16, which it does not offer on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import whisper
from whisper.decoding import DecodingOptions, DecodingResult, DecodingTask
from whisper.tokenizer import get_tokenizer

from tests.adapters.openai import build
from tests.implementations import PINNED
from tests.perf.peers import Cuts, Setting, Shared

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint


class Task(DecodingTask):
    """Takes features in the module's own dtype, where openai-whisper knows float32 and float16 alone."""

    def _get_audio_features(self, mel: torch.Tensor) -> torch.Tensor:
        mel = mel.to(torch.bfloat16)
        dims = self.model.dims
        return mel if mel.shape[-2:] == (dims.n_audio_ctx, dims.n_audio_state) else self.model.encoder(mel)


class Rounded(whisper.Whisper):
    """openai-whisper's module in bfloat16; its `transcribe` calls `decode`."""

    @torch.inference_mode()
    def decode(self, mel: torch.Tensor, options: DecodingOptions) -> DecodingResult | list[DecodingResult]:
        batch = mel if mel.ndim == 3 else mel[None]
        results = Task(self, options).run(batch)
        return results if mel.ndim == 3 else results[0]


def rounded(checkpoint: Checkpoint) -> Rounded:
    """The parameters of norms stay float32: PyTorch takes them so, and reads bfloat16 without a copy in float32."""
    module = Rounded(whisper.ModelDimensions(**asdict(checkpoint.dims)))
    module.load_state_dict(build(checkpoint).state_dict())
    module = module.bfloat16().eval().requires_grad_(False)
    for norm in (each for each in module.modules() if isinstance(each, torch.nn.LayerNorm)):
        norm.float()
        norm.forward = partial(torch.nn.LayerNorm.forward, norm)
    return module


class OpenAI(Shared):
    """torch's number of threads is the process's: each call sets its own."""

    def __init__(self, checkpoint: Checkpoint, dtype: str, setting: Setting) -> None:
        makers: dict[str, Callable[[Checkpoint], whisper.Whisper]] = {"float32": build, "bfloat16": rounded}
        self.dtype, self.setting = getattr(torch, dtype), setting
        self.module = makers[dtype](checkpoint)
        self.eot = get_tokenizer(self.module.is_multilingual).eot

    @torch.inference_mode()
    def features(self, mel: np.ndarray) -> torch.Tensor:
        torch.set_num_threads(self.setting.threads)
        return self.module.encoder(torch.from_numpy(mel).to(self.dtype))

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return self.features(mel).float().numpy()

    def decode(self, features: torch.Tensor, steps: int) -> list[list[int]]:
        torch.set_num_threads(self.setting.threads)
        options: dict[str, Any] = {"sample_len": steps, "suppress_tokens": f"-1,{self.eot}", "fp16": False}
        results = self.module.decode(features, DecodingOptions(language="en", without_timestamps=True, **options))
        return [[int(token) for token in result.tokens] for result in results]

    def read(self, audio: np.ndarray) -> str:
        torch.set_num_threads(self.setting.threads)
        return whisper.transcribe(self.module, audio, language="en", fp16=False, verbose=None, **PINNED)["text"]

    def read_in_batches(self, audio: np.ndarray, cuts: Cuts) -> str:
        raise NotImplementedError("openai-whisper reads recordings in sequence alone")
