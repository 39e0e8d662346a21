"""Scratch copies of the project, in which a fault harms nobody: neither the checkout nor any cache sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from maxwhisper_impl.errors import MaxWhisperError

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(".pytest_cache", "d", "whisper")
"""The oracle's answers, below a project's root."""
LINKED = "fixtures/"
"""Files that no fault touches are not copied."""


def project_files(root: Path) -> list[str]:
    """Tracked files as they are now, and new ones that git does not ignore."""
    listing = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    try:
        done = subprocess.run(listing, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MaxWhisperError(f"{root}: git does not list this project's files; run it in a git checkout") from error
    return [name for name in os.fsdecode(done.stdout).split("\0") if name and (root / name).is_file()]


def farm(source: Path, target: Path) -> None:
    """Folders like those of `source`, with links to its files: what is written to them goes nowhere else, since all our
    caches replace whole files."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir() if source.is_dir() else ():
        if entry.is_dir():
            farm(entry, target / entry.name)
        else:
            (target / entry.name).symlink_to(entry)


class Scratch:
    """A copy of the project in `folder`, with `../shared` beside it as the checkout has it."""

    def __init__(self, folder: Path):
        self.root, self._home = folder / "project", folder / "cache"
        self._files = project_files(ROOT)
        for name in self._files:
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name.startswith(LINKED):
                target.symlink_to(ROOT / name)
            else:
                shutil.copyfile(ROOT / name, target)
        if (shared := ROOT.parent / "shared").is_dir():
            (folder / "shared").symlink_to(shared)

    def restore(self, name: str) -> None:
        shutil.copyfile(ROOT / name, self.root / name)

    def environment(self, *, apart: bool) -> dict[str, str]:
        """For a run in this copy; `apart`: with caches of its own, which begin as the user's and the checkout's are."""
        mine, theirs = self.root / CACHE, ROOT / CACHE
        for folder in (self.root / ".pytest_cache", self._home):
            shutil.rmtree(folder, ignore_errors=True)
        # no .pyc: a fault of the same length within a second would not be seen
        variables = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        if not apart:
            theirs.mkdir(parents=True, exist_ok=True)
            mine.parent.mkdir(parents=True)
            mine.symlink_to(theirs)
            return variables
        farm(theirs, mine)
        user = Path(os.getenv("XDG_CACHE_HOME") or Path.home() / ".cache")
        farm(user / "maxwhisper", self._home / "maxwhisper")
        for entry in user.iterdir() if user.is_dir() else ():
            if entry.name != "maxwhisper":  # MAX's own, weights: nothing of ours is written there
                (self._home / entry.name).symlink_to(entry)
        return {**variables, "XDG_CACHE_HOME": str(self._home)}
