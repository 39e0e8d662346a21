"""Headless Chromium: what a page looks like, what it says, and what it complains of or asks for.

    python -m tests.report.browser build/report.html docs

draws the README's pictures: light, dark, and as wide as a phone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image

from maxwhisper_impl.errors import MaxWhisperError
from maxwhisper_impl.files import write_whole

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = "apt-get install chromium"
SECONDS = 120
PHONE = 390
LARGEST = 300_000
"""bytes of a picture"""
PICTURES = {"report-light.png": (1180, 1600, False), "report-dark.png": (1180, 1600, True),
            "report-phone.png": (PHONE, 1500, False)}  # fmt: skip
"""width, height, whether dark"""


def chromium() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def browse(page: Path, *flags: str, dark: bool = False) -> subprocess.CompletedProcess[str]:
    """The page opened from disk in a profile of its own; stderr has the console's lines."""
    program = chromium()
    if program is None:
        raise MaxWhisperError(f"there is no Chromium; {INSTALL}")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--enable-logging=stderr", f"--user-data-dir={profile}",
            *(["--blink-settings=preferredColorScheme=0"] if dark else []), *flags, page.absolute().as_uri(),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)


def picture(page: Path, width: int, height: int, *, dark: bool = False) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "page.png"
        browse(page, f"--screenshot={out}", f"--window-size={width},{height}", dark=dark)
        return Image.open(BytesIO(out.read_bytes())).convert("RGB")


def printed(page: Path) -> bytes:
    """As PDF."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "page.pdf"
        browse(page, f"--print-to-pdf={out}", "--no-pdf-header-footer")
        return out.read_bytes()


def dom(page: Path, *flags: str) -> str:
    return browse(page, "--dump-dom", *flags).stdout


def console(page: Path) -> list[str]:
    """Its warnings and errors, whatever wrote them."""
    return [line for line in browse(page, "--dump-dom").stderr.splitlines() if ":CONSOLE" in line]


def requests(page: Path) -> list[str]:
    """Addresses that were asked for, beside the page's own file; those of the browser itself left out."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "net.json"
        browse(page, "--dump-dom", f"--log-net-log={log}", "--disable-background-networking", "--disable-sync",
               "--disable-component-update", "--disable-default-apps")  # fmt: skip
        events = json.loads(log.read_text())["events"]
    asked = {event.get("params", {}).get("url", "") for event in events}
    return sorted(url for url in asked if url and "google" not in url)


def main(page: Path, folder: Path) -> None:
    for name, (width, height, dark) in PICTURES.items():
        buffer = BytesIO()
        picture(page, width, height, dark=dark).quantize(256).save(buffer, format="PNG", optimize=True)
        if buffer.tell() > LARGEST:
            raise MaxWhisperError(f"{name} would have {buffer.tell():,} bytes, {LARGEST:,} is the most")
        write_whole(folder / name, buffer.getvalue())
        print(f"{folder / name}: {buffer.tell() // 1000} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
