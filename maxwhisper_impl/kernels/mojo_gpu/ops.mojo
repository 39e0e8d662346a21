"""The kernels as ops: how many blocks of threads each takes, on a GPU, or on a CPU one after the other."""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.gpu.host.info import is_cpu
from max.gpu import block_idx

from .attention import HEAD, TILE_THREADS as WINDOW_THREADS, Window
from .block import F32, I32, THREADS
from .product import FEW_ROWS, TILE_THREADS, Product
from .query import Query

comptime I = Int64
"""What a GPU is told a size in."""


def tiled_kernel[
    gelu: Bool, adds: Bool
](
    x: F32, weight: F32, bias: F32, residual: F32, y: F32, rows: I, n: I, k: I, stride: I, item: I, residual_item: I,
):
    var product = Product[gelu, adds](
        x, weight, bias, residual, y, Int(rows), Int(n), Int(k), Int(stride), Int(item), Int(residual_item)
    )
    product.tile(Int(block_idx.x))


def few_kernel[
    gelu: Bool, adds: Bool
](x: F32, weight: F32, bias: F32, residual: F32, y: F32, rows: I, n: I, k: I):
    var product = Product[gelu, adds](x, weight, bias, residual, y, Int(rows), Int(n), Int(k), Int(k), 0, 0)
    product.few(Int(block_idx.x))


def window_kernel[keys: Int](q: F32, kv: F32, windows: I32, y: F32, n: I, stride: I, heads: I):
    var window = Window[keys](q, kv, windows, y, Int(n), Int(stride), Int(heads))
    window.tile(Int(block_idx.x))


def query_kernel[
    causal: Bool, most: Int
](q: F32, kv: F32, places: I32, y: F32, n: I, stride: I, heads: I, length: I):
    var query = Query[causal, most](q, kv, places, y, Int(n), Int(stride), Int(heads), Int(length))
    query.query(Int(block_idx.x))


def multiply[
    target: StaticString, gelu: Bool, adds: Bool
](product: Product[gelu, adds], items: Int, ctx: DeviceContext) raises:
    var p = product
    if p.rows * items <= FEW_ROWS and p.stride == p.k:
        p.rows *= items
        comptime if is_cpu[target]():

            def few(block: Int) {imm}:
                p.few(block)

            sync_parallelize(few, p.fews())
        else:
            comptime kernel = few_kernel[gelu, adds]
            ctx.enqueue_function[kernel](
                p.x, p.weight, p.bias, p.residual, p.y, I(p.rows), I(p.n), I(p.k),
                grid_dim=p.fews(), block_dim=THREADS,
            )
        return
    comptime if is_cpu[target]():

        def tile(block: Int) {imm}:
            p.tile(block)

        sync_parallelize(tile, p.tiles() * items)
    else:
        comptime kernel = tiled_kernel[gelu, adds]
        ctx.enqueue_function[kernel](
            p.x, p.weight, p.bias, p.residual, p.y,
            I(p.rows), I(p.n), I(p.k), I(p.stride), I(p.item), I(p.residual_item),
            grid_dim=p.tiles() * items, block_dim=TILE_THREADS,
        )


def ask[
    target: StaticString, causal: Bool, most: Int
](query: Query[causal, most], rows: Int, ctx: DeviceContext) raises:
    comptime if is_cpu[target]():

        def one(block: Int) {imm}:
            query.query(block)

        sync_parallelize(one, query.queries() * rows)
    else:
        comptime kernel = query_kernel[causal, most]
        ctx.enqueue_function[kernel](
            query.q, query.kv, query.places, query.y, I(query.n), I(query.stride), I(query.heads), I(query.length),
            grid_dim=query.queries() * rows, block_dim=THREADS,
        )


@always_inline
def floats(x: InputTensor[dtype=DType.float32, ...]) -> F32:
    return x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()


@always_inline
def ids(x: InputTensor[dtype=DType.int32, ...]) -> I32:
    return x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()


@always_inline
def room(y: OutputTensor[dtype=DType.float32, ...]) -> F32:
    return y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()


@extensibility.register("whisper.gpu.linear")
struct Linear:
    @staticmethod
    def execute[
        gelu: Bool, adds: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        weight: InputTensor[dtype=DType.float32, rank=2, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        residual: InputTensor[dtype=DType.float32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[items, rows, k]`, weight `[n, k]`, y and residual `[items, rows, n]`."""
        var rows = x.dim_size(1)
        var k = x.dim_size(2)
        var n = y.dim_size(2)
        var product = Product[gelu, adds](
            floats(x), floats(weight), floats(bias), floats(residual), room(y), rows, n, k, k, rows * k, rows * n
        )
        multiply[target](product, x.dim_size(0), ctx)


@extensibility.register("whisper.gpu.conv")
struct Conv:
    """A convolution of three taps is a product whose left rows overlap: row t is x[t * stride : t * stride + 3]."""

    @staticmethod
    def execute[
        stride: Int, adds: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        weight: InputTensor[dtype=DType.float32, rank=2, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        position: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[items, frames + 2, channels]`, zero at both ends; y `[items, frames / stride, n]`."""
        var channels = x.dim_size(2)
        var product = Product[True, adds](
            floats(x), floats(weight), floats(bias), floats(position), room(y), y.dim_size(1), y.dim_size(2),
            3 * channels, stride * channels, x.dim_size(1) * channels, 0,
        )
        multiply[target](product, x.dim_size(0), ctx)


@extensibility.register("whisper.gpu.attend")
struct Attend:
    @staticmethod
    def execute[
        keys: Int, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        kv: InputTensor[dtype=DType.float32, rank=5, ...],
        windows: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Queries at the start of each row of x `[rows, n, heads * 64 (…)]` over kv `[windows, 2, heads, keys, 64]`."""
        var rows = x.dim_size(0)
        var n = x.dim_size(1)
        var stride = x.dim_size(2)
        var heads = kv.dim_size(2)
        if n <= FEW_ROWS:
            var query = Query[False, keys](floats(x), floats(kv), ids(windows), room(y), n, stride, heads, n)
            ask[target](query, rows, ctx)
            return
        var window = Window[keys](floats(x), floats(kv), ids(windows), room(y), n, stride, heads)
        comptime if is_cpu[target]():

            def tile(block: Int) {imm}:
                window.tile(block)

            sync_parallelize(tile, window.tiles() * rows)
        else:
            comptime kernel = window_kernel[keys]
            ctx.enqueue_function[kernel](
                window.q, window.kv, window.windows, window.y, I(n), I(stride), I(heads),
                grid_dim=window.tiles() * rows, block_dim=WINDOW_THREADS,
            )


@extensibility.register("whisper.gpu.self_attend")
struct SelfAttend:
    @staticmethod
    def execute[
        positions: Int, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        cache: MutableInputTensor[dtype=DType.float32, rank=3, ...],
        source: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Queries at the start of each row of x `[rows, n, 3 * heads * 64]` over cache
        `[slots, positions, 2 * heads * 64]`, which holds theirs already; source `[rows, length]`."""
        var kv = cache.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var heads = y.dim_size(2) // HEAD
        var query = Query[True, positions](
            floats(x), kv, ids(source), room(y), x.dim_size(1), x.dim_size(2), heads, source.dim_size(1)
        )
        ask[target](query, x.dim_size(0), ctx)
