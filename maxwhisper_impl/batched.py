"""Several windows of a recording at a time: it is cut at silences, and what lies between is transcribed side by side.

A piece goes its own way, window by window, as a clip of `clip_timestamps` does. What follows from that: no window is
told the text before it (`condition_on_previous_text` is False), and each one gets `initial_prompt`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from .audio import N_FRAMES, LogMel
from .fallback import decode_windows, is_silence
from .hallucinations import seek_last_word
from .results import Segment
from .segments import Cut, Window, clear_empty, cut_segments, print_segments, seconds
from .timing import Said, last_word_end
from .transcribe import Transcription

SHORTEST = N_FRAMES * 2 // 3
"""frames: a piece is cut off in the last third of 30 s"""
PAUSE = 30
"""frames whose loudness is taken together: a pause between words, not the closure in a p or t"""
_QUIETEST_MEL = -1.5
"""log-mel of digital silence"""


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
    """Frames [start, end) in pieces of at most 30 s, each cut off where its last ten seconds are quietest."""
    pieces: list[tuple[int, int]] = []
    while end - start > N_FRAMES:
        loudness = mel.frames(start + SHORTEST, start + N_FRAMES).mean(axis=0) - _QUIETEST_MEL
        around = np.convolve(loudness, np.full(PAUSE, 1 / PAUSE), mode="valid")
        # the last of equals: longer pieces make fewer windows
        quietest = len(around) - 1 - int(around[::-1].argmin())
        cut = start + SHORTEST + quietest + PAUSE // 2
        pieces.append((start, cut))
        start = cut
    return [*pieces, (start, end)] if end > start else pieces
