"""Measures the oracle's and faster-whisper's rates on the corpora, as rows for `figures.json`.

python -m tests.quality.measure_figures [--checkpoint NAME …]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from maxwhisper_impl.corpus import default_corpora, read_corpus
from maxwhisper_impl.weights import Checkpoint, load_checkpoint
from tests import baselines
from tests.implementations import IMPLEMENTATIONS, checkpoint_name
from tests.quality.wer import groups, score, texts
from tests.transcripts import Transcripts

CACHE = Path(__file__).resolve().parents[2] / ".pytest_cache" / "d" / "whisper"


def rows(checkpoint: Checkpoint, system: str) -> list[dict[str, object]]:
    """One row per group that the checkpoint's languages cover."""
    implementation = IMPLEMENTATIONS[system]
    transcripts = Transcripts(
        implementation, checkpoint, lambda: implementation.load(checkpoint, "cpu", "float32"), keep=True
    )
    found = []
    for group in groups([clip for folder in default_corpora() for clip in read_corpus(folder)]):
        if checkpoint.dims.is_multilingual or group.clips[0].language == "en":
            got = score(group.clips, texts(transcripts, group))
            found.append(
                {
                    "group": group.name,
                    "clips": len(group.clips),
                    "words": got.words,
                    "checkpoint": checkpoint_name(checkpoint),
                    "system": system,
                    "wer": round(100 * got.rate, 2),
                }
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", action="append")
    parser.add_argument("--system", action="append", choices=("openai-whisper", "faster-whisper"))
    arguments = parser.parse_args()
    baselines.use_cache_folder(CACHE)
    for name in arguments.checkpoint or ("tiny.en", "base"):
        checkpoint = load_checkpoint(name, download=False)
        for system in arguments.system or ("openai-whisper", "faster-whisper"):
            for row in rows(checkpoint, system):
                print(f"    {json.dumps(row)},", flush=True)


if __name__ == "__main__":
    main()
