"""What can go wrong, one class per kind of input, so that a caller can tell them apart."""


class MaxWhisperError(Exception):
    """Base of every error this package raises on purpose; the message names the way out."""


class AudioError(MaxWhisperError, ValueError):
    """The audio cannot be read, or is not audio."""


class CheckpointError(MaxWhisperError, ValueError):
    """The checkpoint cannot be found or read, or does not hold the tensors its dims demand."""


class CorpusError(MaxWhisperError, ValueError):
    """A folder holds no corpus, or its manifest or transcripts are malformed."""


class OptionError(MaxWhisperError, ValueError):
    """An option is unknown, out of range, or contradicts another."""


class RunFileError(MaxWhisperError, ValueError):
    """A run file cannot be read, or does not hold what its kind demands."""


class DeviceError(MaxWhisperError, RuntimeError):
    """The device or dtype asked for is not there."""


class HistoryError(MaxWhisperError, ValueError):
    """A recorded run or the folder of them cannot be read, or is none."""
