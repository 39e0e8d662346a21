"""Hugging Face's transformers on PyTorch, in float32 and bfloat16, with PyTorch's own attention ("sdpa")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import GenerationMixin, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from maxwhisper_impl.audio import SAMPLE_RATE
from maxwhisper_impl.systems import converted
from maxwhisper_impl.tokenizer import get_tokenizer
from tests.perf.peers import Cuts, Setting, Shared

if TYPE_CHECKING:
    from maxwhisper_impl.weights import Checkpoint


class Hugging(Shared):
    """torch's number of threads is the process's: each call sets its own.

    Windows go through transformers' general `generate` with the rules of Whisper's own (what is suppressed): the
    latter does the same with more around it. Recordings in sequence go through Whisper's own.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: str, setting: Setting) -> None:
        self.dtype, self.setting, self.dims = getattr(torch, dtype), setting, checkpoint.dims
        folder = converted(checkpoint.source, "huggingface")
        logging.disable_progress_bar()
        self.model = WhisperForConditionalGeneration.from_pretrained(
            str(folder), dtype=self.dtype, attn_implementation="sdpa", local_files_only=True
        ).eval()
        self.extract = WhisperFeatureExtractor(feature_size=checkpoint.dims.n_mels)
        self.tokenizer = get_tokenizer(checkpoint.dims.is_multilingual, num_languages=checkpoint.dims.num_languages)
        self.prompt = list(self.tokenizer.sot_sequence_including_notimestamps)

    @torch.inference_mode()
    def features(self, mel: np.ndarray | torch.Tensor) -> torch.Tensor:
        torch.set_num_threads(self.setting.threads)
        return self.model.model.encoder(torch.as_tensor(mel).to(self.dtype)).last_hidden_state

    def encode(self, mel: np.ndarray) -> np.ndarray:
        return self.features(mel).float().numpy()

    def decode(self, features: torch.Tensor, steps: int) -> list[list[int]]:
        suppressed = [*self.model.generation_config.suppress_tokens, self.tokenizer.eot]
        return self._generate(features, steps, suppress_tokens=suppressed)

    @torch.inference_mode()
    def _generate(self, features: torch.Tensor, steps: int, **options: Any) -> list[list[int]]:
        """Tokens of each window behind the prompt, padded with ends of text."""
        torch.set_num_threads(self.setting.threads)
        sampled = GenerationMixin.generate(
            self.model,
            encoder_outputs=BaseModelOutput(last_hidden_state=features),
            decoder_input_ids=torch.tensor([self.prompt] * len(features)),
            max_length=len(self.prompt) + steps,
            do_sample=False,
            num_beams=1,
            **options,
        )
        return sampled[:, len(self.prompt) :].tolist()

    def _text(self, tokens: list[int]) -> str:
        return self.tokenizer.decode([token for token in tokens if token < self.tokenizer.eot])

    def read(self, audio: np.ndarray) -> str:
        torch.set_num_threads(self.setting.threads)
        made = self.extract(
            audio, sampling_rate=SAMPLE_RATE, truncation=False, padding="longest", return_attention_mask=True,
            return_tensors="pt",
        )  # fmt: skip
        spoken = {"language": "en", "task": "transcribe"} if self.dims.is_multilingual else {}
        with torch.inference_mode():
            sampled = self.model.generate(
                made.input_features.to(self.dtype), attention_mask=made.attention_mask, return_timestamps=True,
                condition_on_prev_tokens=True, temperature=0.0, do_sample=False, num_beams=1, **spoken,
            )  # fmt: skip
        return self._text(sampled[0].tolist())

    def read_in_batches(self, audio: np.ndarray, cuts: Cuts) -> str:
        torch.set_num_threads(self.setting.threads)
        said: list[str] = []
        steps = self.dims.n_text_ctx // 2  # as many as the others sample at most
        for at in range(0, len(cuts), self.setting.batch):
            pieces = [audio[start:end] for start, end in cuts[at : at + self.setting.batch]]
            mel = self.extract(pieces, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
            said += [self._text(tokens) for tokens in self._generate(self.features(mel), steps)]
        return "".join(said)
