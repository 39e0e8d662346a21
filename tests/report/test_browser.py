"""The page in a browser: opened from disk it says what it says, in silence, alone, and within the width of a phone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_impl.cli import main
from tests.report import browser, runs
from tests.report.browser import PHONE, console, dom, picture, printed, requests
from tests.report.runs import changed
from tests.report.test_sound import tone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.chromium() is None, reason=f"there is no Chromium; {browser.INSTALL}"),
]
MEASURE = """<script>
addEventListener("load", () => {
  const audio = document.querySelector("audio"), root = document.documentElement;
  const tell = () => root.dataset.told = [root.scrollWidth, innerWidth, audio && Math.round(audio.duration)].join(" ");
  tell();
  if (audio) audio.addEventListener("loadedmetadata", tell);
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every kind of run file, with a recording of 5 s."""
    folder = tmp_path_factory.mktemp("page")
    heard = changed(runs.COMPARISON, audio__0__file=tone(folder / "talk.wav", 5), audio__0__seconds=5.0)
    for row in heard["rows"]:
        row["transcripts"] = {heard["audio"][0]["file"]: row["transcripts"]["talk.flac"]}
    files = {name.partition(".")[0]: run for name, run in runs.ALL.items()} | {"compare": heard}
    out = folder / "page.html"
    assert main(["report", "--from", *runs.write(folder, **files), "--out", str(out)]) == 0
    return out


def told(page: Path, width: int) -> list[int]:
    """[width of the content, of the window, seconds of the recording], from a copy that may run a script."""
    html = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", MEASURE, page.read_text())
    copy = page.with_name("measured.html")
    copy.write_text(html)
    written = dom(copy, f"--window-size={width},900", "--virtual-time-budget=9000")
    found = re.search(r'data-told="(\d+) (\d+) (\d+)"', written)
    assert found
    return [int(number) for number in found.groups()]


def test_it_opens_in_silence(page: Path) -> None:
    html = dom(page)
    for said in ("Everything that was judged has passed.", "token for token what openai-whisper writes", "Run files"):
        assert said in html
    assert console(page) == []


def test_it_asks_for_nothing(page: Path) -> None:
    assert requests(page) == []
    assert page.stat().st_size < 5_000_000


def test_a_page_that_complains_or_asks_is_noticed(tmp_path: Path) -> None:
    """The two tests before can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text('<!doctype html><script>nothing.here</script><img src="http://127.0.0.1:9/a.png">')
    assert any("nothing is not defined" in line for line in console(bad))
    assert "http://127.0.0.1:9/a.png" in requests(bad)


def test_it_fits_a_phone_and_the_recording_plays(page: Path) -> None:
    content, window, seconds = told(page, PHONE)
    assert window <= 500
    assert content <= window, "only tables may scroll sideways"
    assert seconds == 5


def brightness(image: Any) -> float:
    grey = image.convert("L").resize((1, 1))
    return grey.getpixel((0, 0))


def test_light_dark_and_printed(page: Path) -> None:
    assert brightness(picture(page, 1100, 1400)) > 200
    assert brightness(picture(page, 1100, 1400, dark=True)) < 60
    document = printed(page)
    assert document.startswith(b"%PDF")
    assert document.count(b"/Type /Page\n") + document.count(b"/Type /Page/") >= 2
