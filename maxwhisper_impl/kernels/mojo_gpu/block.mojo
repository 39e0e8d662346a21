"""A block of GPU threads, whose program is written as phases between barriers.

A GPU runs a phase in all threads at once, a CPU in one after the other: so what GPUs compute is tested without one.
"""

from max.algorithm import sync_parallelize
from max.gpu.memory import AddressSpace
from max.gpu.sync import barrier, syncwarp
from max.gpu import thread_idx
from std.memory import stack_allocation
from std.sys import is_gpu

comptime F32 = Pointer[Float32, MutUntrackedOrigin]
comptime I32 = Pointer[Int32, MutUntrackedOrigin]
comptime Four = SIMD[DType.float32, 4]
comptime THREADS = 256
"""Of a block, at most."""
comptime WARP = 32
comptime SPACE = AddressSpace.SHARED if is_gpu() else AddressSpace.GENERIC
comptime Shared = Pointer[Float32, MutUntrackedOrigin, address_space=SPACE]
comptime SLOTS = 1 if is_gpu() else THREADS
"""Threads whose variables a processor that runs the block's program must hold."""


@always_inline
def every[threads: Int, Phase: def(Int) -> None](phase: Phase):
    """A phase in all threads of a block, each of which is told its number; it ends when all are through."""
    comptime if is_gpu():
        phase(Int(thread_idx.x))
        barrier()
    else:
        for thread in range(threads):
            phase(thread)


@always_inline
def each_warp[threads: Int, Phase: def(Int) -> None](phase: Phase):
    """The same where no thread reads what one of another warp has written: a warp goes on when its own are through."""
    comptime if is_gpu():
        phase(Int(thread_idx.x))
        syncwarp()
    else:
        for thread in range(threads):
            phase(thread)


@always_inline
def slot(thread: Int) -> Int:
    """Where a thread's own variables stand among those that `SLOTS` counts."""
    return 0 if is_gpu() else thread


@always_inline
def four(x: F32, at: Int, left: Int, whole: Bool) -> Four:
    """The next four of the `left` numbers from `at` on, zero beyond the last; `whole` where four are, and aligned."""
    if whole:
        return x.unsafe_load[width=4, alignment=16](at)
    var values = Four(0)
    comptime for i in range(4):
        if i < left:
            values[i] = x.unsafe_load(at + i)
    return values
