"""One page of what the run files say: `make_page` reads nothing but them and the audio that a comparison names."""

from .page import make_page
from .read import Source, read_runs

__all__ = ["Source", "make_page", "read_runs"]
