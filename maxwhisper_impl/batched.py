"""Several windows of a recording at a time: it is cut at silences, and what lies between is transcribed side by side.

A piece goes its own way, window by window, as a clip of `clip_timestamps` does. What follows from that: no window is
told the text before it (`condition_on_previous_text` is False), and each one gets `initial_prompt`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .audio import N_FRAMES, LogMel
from .fallback import decode_windows, is_silence
from .hallucinations import seek_last_word
from .results import Segment
from .segments import Cut, Window, clear_empty, cut_segments, print_segments, seconds
from .timing import Said, last_word_end
from .transcribe import Transcription

PIECE = 0.5
"""What a piece costs, as loudness: rather one cut within a word than one more window"""
SHORTEST = N_FRAMES // 3
"""frames of a piece that is cut off"""
GRID = 10
"""frames between places for a cut"""
PAUSE = 30
"""frames whose loudness is taken together: a pause between words, not the closure in a p or t"""


class BatchedTranscription(Transcription):
    """Iterate over it for the segments in their order, each as soon as those before it are final."""

    def __iter__(self) -> Iterator[Segment]:
        waiting = deque(self._pieces())
        going: deque[_Piece] = deque()
        with self._progress_bar() as bar:
            while (waiting or going) and not self.cancelled:
                busy = [piece for piece in going if not piece.done]
                while waiting and len(busy) < (self.options.batch_size or 1):
                    going.append(waiting.popleft())
                    busy.append(going[-1])
                self._transcribe_batch(busy)
                while going and going[0].done:
                    piece = going.popleft()
                    yield from self._final(piece)
                    self._report(bar, piece.start, piece.end)

    def _pieces(self) -> list[_Piece]:
        cuts = (cut for start, end in self.clips for cut in cut_at_silences(self.mel, start, end))
        return [_Piece(start, end) for start, end in cuts]

    def _transcribe_batch(self, pieces: list[_Piece]) -> None:
        """One window of each piece."""
        windows = [piece.window for piece in pieces]
        features = self._encode(*windows)
        language = None if self.options.multilingual else self.language
        results = decode_windows(
            self.runtime, self.options, windows, features, language=language, prompt=self.initial_prompt
        )
        cuts = [
            Cut([], window.size, ends_in_silence=True)
            if is_silence(self.options, result)
            else cut_segments(result, window, self.tokenizer)
            for window, result in zip(windows, results, strict=True)
        ]
        if self.options.word_timestamps:
            cuts = self._with_words_of_all(pieces, cuts, [result.language for result in results])
        for piece, cut, result in zip(pieces, cuts, results, strict=True):
            piece.take(cut, self._with_language(cut.segments, result))

    def _with_words_of_all(self, pieces: list[_Piece], cuts: list[Cut], languages: list[str]) -> list[Cut]:
        """The cuts of each piece's next window with words, and the advance that goes with them."""
        windows = [piece.window for piece in pieces]
        said = [
            Said(cut.segments, window.size, self._tokenizer_of(language), piece.last_speech)
            for cut, window, language, piece in zip(cuts, windows, languages, pieces, strict=True)
        ]
        self._add_words(said, *windows)
        return [seek_last_word(cut, window) for cut, window in zip(cuts, windows, strict=True)]

    def _final(self, piece: _Piece) -> list[Segment]:
        """Its segments numbered, with times of the recording, and printed if asked for."""
        until = seconds(piece.end)
        if self.options.verbose:
            print_segments(self._in_recording(piece.segments, until))
        clear_empty(piece.segments)
        numbered = enumerate(piece.segments, start=self.count)
        segments: list[Segment] = [{"id": number, **segment} for number, segment in numbered]
        self.count += len(segments)
        self.tokens += [token for segment in segments for token in segment["tokens"]]
        return self._in_recording(segments, until)


class _Piece:
    """Mel frames [start, end) on their way to segments; those before `seek` are done."""

    def __init__(self, start: int, end: int):
        self.start = self.seek = start
        self.end = end
        self.segments: list[Segment] = []

    @property
    def done(self) -> bool:
        return self.seek >= self.end

    @property
    def window(self) -> Window:
        return Window(self.seek, min(N_FRAMES, self.end - self.seek))

    @property
    def last_speech(self) -> float:
        """Seconds at which its last word so far ends; it was cut off at a silence."""
        end = last_word_end(self.segments) if self.segments else None
        return seconds(self.start) if end is None else end

    def take(self, cut: Cut, segments: list[Segment]) -> None:
        """What was said in the window; moves on to the next one."""
        self.segments += segments
        self.seek += max(cut.advance, 1)


def cut_at_silences(mel: LogMel, start: int, end: int) -> list[tuple[int, int]]:
    """Frames [start, end) in pieces of 10 to 30 s, so that PIECE for each and the loudness at all cuts are least together.
    """
    if end - start <= N_FRAMES:
        return [(start, end)] if end > start else []
    loudness = loudness_of(mel, start, end)
    count, longest, shortest = len(loudness), N_FRAMES // GRID, SHORTEST // GRID
    least = np.full(longest + count, np.inf)  # of what lies before a place, behind places that there are not
    least[longest] = 0
    last = np.zeros(count, int)
    for at in range(shortest, count, shortest):  # none of these is cut off from another of them
        places = np.arange(at, min(at + shortest, count))
        before = sliding_window_view(least[at : places[-1] + 1 + longest - shortest], longest - shortest + 1)
        best = before.argmin(axis=1)
        last[places] = places + best - longest
        least[longest + places] = before[places - at, best] + loudness[places] + PIECE
    place, cuts = int(last[-1]), [end]
    while place:
        cuts.append(start + place * GRID)
        place = int(last[place])
    return list(pairwise([start, *reversed(cuts)]))


def loudness_of(mel: LogMel, start: int, end: int) -> np.ndarray:
    """Log-mel of PAUSE frames around each GRID-th one, above the quietest; 0 at `start` and at the end, which is the last
    place whether it lies on the grid or not."""
    frames = [mel.frames(at, min(at + N_FRAMES, end)).mean(axis=0) for at in range(start, end, N_FRAMES)]
    around = sliding_window_view(np.pad(np.concatenate(frames), PAUSE // 2, "edge"), PAUSE)[::GRID].mean(axis=1)
    return np.concatenate([[0], around[1 : -(-(end - start) // GRID)] - around.min(), [0]])
