"""Threads that go through the same phases of work side by side, within one op.

What is to be done in a phase is claimed piece by piece by whoever has time. A worker waits for pieces that another one
is at, never for a worker: one that comes late, or not at all, holds nobody up.
"""

from max.algorithm import sync_parallelize
from max.runtime.asyncrt import parallelism_level
from std.atomic import Atomic
from std.sys import CompilationTarget, llvm_intrinsic

comptime Counter = Pointer[Int64, MutUntrackedOrigin]
comptime APART = 8
"""Counters that share a line of the cache slow each other down: only each eighth is used."""


struct Team(Movable):
    """One worker's view of the phases; all of its team call the same methods in the same order."""

    var claimed: Counter
    var workers: Int
    var mine: Int
    """pieces of this phase that this worker has done or is at"""

    def __init__(out self, counters: Counter, workers: Int):
        """`counters`: two for each phase, APART from each other, zero; the same of all workers."""
        self.claimed = counters
        self.workers = workers
        self.mine = 0

    def claim(mut self, pieces: Int) -> Int:
        """The number of a piece that nobody has claimed yet, or -1."""
        var piece = Int(Atomic[Int64].fetch_add(self.claimed, 1))
        if piece >= pieces:
            return -1
        self.mine += 1
        return piece

    def wait(mut self, pieces: Int):
        """Ends the phase: returns when all its pieces are done."""
        var done = self.claimed.unsafe_offset(APART)
        _ = Atomic[Int64].fetch_add(done, Int64(self.mine))
        while Int(Atomic[Int64].load(done)) < pieces:
            comptime if CompilationTarget.is_x86():
                llvm_intrinsic["llvm.x86.sse2.pause", NoneType]()
        self.claimed = self.claimed.unsafe_offset(2 * APART)
        self.mine = 0


def together[Work: def(mut Team) -> None](phases: Int, work: Work) raises:
    """`work` by each worker of a team of all threads, through so many phases."""
    var room = List[Int64](length=phases * 2 * APART, fill=0)
    var counters = room.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
    var workers = parallelism_level(None)

    def one(task: Int) {imm}:
        var team = Team(counters, workers)
        work(team)

    sync_parallelize(one, workers)
    _ = room^  # not before the last read through its pointer
