"""Speculative decoding: what is guessed, and what of it is taken."""

from tests.teeth.fault import Fault, judged, seen

TESTS = "tests/parity/test_drafts.py"
DECODING = "maxwhisper_impl/decoding"


def drafted(name: str, file: str, before: str, after: str, *speaks: str, quick: bool = False) -> Fault:
    return judged("drafts", name, file, before, after, TESTS, *speaks, quick=quick)


def told(name: str, before: str, after: str) -> Fault:
    return seen(name, "drafts", "maxwhisper_impl/drafts.py", before, after, TESTS,
                "an_assistant_is_told_what_the_model_is_told")  # fmt: skip


FAULTS = (
    drafted(
        "a-guess-taken-unseen",
        f"{DECODING}/task.py",
        " and search.sampled[0, -1] == guess[taken]:",
        ":",
        "any_draft_gives_the_greedy_text*",
        "a_right_draft_saves_calls*",
        quick=True,
    ),
    drafted(
        "rewound-a-token-too-far",
        f"{DECODING}/task.py",
        "state.rewind(length + 1 + taken)",
        "state.rewind(length + taken)",
        "any_draft_gives_the_greedy_text*",
        "a_right_draft_saves_calls*",
    ),
    drafted(
        "nothing-forgotten-of-a-wrong-guess",
        f"{DECODING}/task.py",
        "        state.rewind(length + 1 + taken)\n",
        "",
        "any_draft_gives_the_greedy_text*",
    ),
    drafted(
        "a-guess-beyond-the-longest-answer",
        f"{DECODING}/draft.py",
        "2 * since), room)",
        "2 * since))",
        "the_draft_is_met_again*",
        "a_guess_grows*",
    ),
    drafted(
        "a-draft-never-met-again",
        f"{DECODING}/draft.py",
        "max(1, self.place - NEAR), min(len(self.tokens), self.place + NEAR) + 1",
        "max(1, self.place), min(len(self.tokens), self.place) + 1",
        "the_draft_is_met_again*",
    ),
    drafted(
        "other-times-lose-the-draft",
        f"{DECODING}/draft.py",
        "drafted == said or min(drafted, said) >= self.timestamp_begin",
        "drafted == said",
        "the_draft_is_met_again*",
    ),
    drafted(
        "times-of-another-vocabulary",
        "maxwhisper_impl/drafts.py",
        "target.timestamp_begin + token - source.timestamp_begin",
        "token",
        "a_draft_in_another_vocabulary",
    ),
    drafted(
        "words-of-another-vocabulary",
        "maxwhisper_impl/drafts.py",
        "elif source.encoding.name == target.encoding.name:",
        "elif True:",
        "a_draft_in_another_vocabulary",
        quick=True,
    ),
    told(
        "an-assistant-hears-beyond-the-window",
        "self.mel.window(window.seek, window.size)",
        "self.mel.window(window.seek)",
    ),
    told(
        "an-assistant-without-context",
        "prompt = translate(encode_text(ours, options.prompt or []), ours, theirs)",
        "prompt = []",
    ),
    told(
        "an-assistant-always-with-times",
        "prompt=prompt, without_timestamps=options.without_timestamps",
        "prompt=prompt",
    ),
)
