"""Live speech from pass to pass, and its options."""

from tests.teeth.fault import Fault, seen

LIVE = "maxwhisper_impl/live.py"
PASSES, OPTIONS, LOOP = (f"test_{name}.py" for name in ("live_passes", "live_options", "live"))


def live(name: str, before: str, after: str, place: str, file: str = PASSES) -> Fault:
    return seen(name, "live", LIVE, before, after, f"tests/parity/{file}", place)


FAULTS = (
    live("live-quiet-speech-is-silence", "QUIET = 1e-3", "QUIET = 1e-2", "quiet_speech_is_heard", LOOP),
    live(
        "live-little-context",
        "SETTLED_SECONDS = 15.0",
        "SETTLED_SECONDS = 3.0",
        "final_segments_stay_as_context",
    ),
    live("live-times-must-be-equal", "_SAME_TIME = 25", "_SAME_TIME = 0", "times_that_waver_by_half_a_second_agree"),
    live(
        "live-a-few-tokens-are-judged",
        "judged = replace(result, avg_logprob=0.0) if self._final else result",
        "judged = result",
        "how_likely_the_rest_of_a_window_is_says_little",
    ),
    live(
        "live-final-words-forgotten-in-silence",
        "nothing = replace(self._result, tokens=self._final)",
        "nothing = replace(self._result, tokens=[])",
        "a_pass_without_speech_takes_back_nothing",
    ),
    live(
        "live-what-was-heard-once-leaves",
        "len(self._audio) - max(self._step, SAMPLE_RATE)",
        "len(self._audio) - SAMPLE_RATE",
        "what_one_pass_does_not_hear_is_heard_by_the_next[long steps]",
        LOOP,
    ),
    live(
        "live-text-before-is-context-in-spite-of-the-option",
        "*(self._past if self.options.condition_on_previous_text else ())",
        "*self._past",
        "segments_become_the_prompt",
        LOOP,
    ),
    live(
        "live-hotwords-forgotten",
        "prompt = [*hint, *said",
        "prompt = [*said",
        "hotwords_stand_before_every_pass",
        OPTIONS,
    ),
    live(
        "live-words-without-times",
        '"word_timestamps", ',
        "",
        "what_needs_the_recording_is_refused[word_timestamps]",
        OPTIONS,
    ),
    live("live-steps-of-no-length", "0.1 <= step <= 10", "0 < step <= 10", "options_out_of_range", OPTIONS),
)
