"""Linear layers and convolutions as ops; `layer.mojo` is what they do."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext

from .layer import Layer, normalize
from .tile import F32


@always_inline
def floats(x: InputTensor[dtype=DType.float32, ...]) -> F32:
    return x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()


@always_inline
def room_of(y: OutputTensor[dtype=DType.float32, ...]) -> F32:
    return y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()


@always_inline
def layer_of[
    portable: Bool
](
    weight: InputTensor[rank=3, ...],
    bias: InputTensor[dtype=DType.float32, rank=1, ...],
    k: Int,
    norm: Bool = False,
    gamma: F32 = F32.unsafe_dangling(),
    beta: F32 = F32.unsafe_dangling(),
    gelu: Bool = False,
    adds: Bool = False,
    residual: F32 = F32.unsafe_dangling(),
) -> Layer[weight.dtype, portable]:
    """What is not asked for is not read."""
    var panels = weight.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
    return Layer[weight.dtype, portable](
        panels, floats(bias), residual, gamma, beta, weight.dim_size(1), k, bias.dim_size(0), norm, gelu, adds
    )


@extensibility.register("whisper.linear")
struct Linear:
    @staticmethod
    def execute[
        norm: Bool, gelu: Bool, adds: Bool, portable: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        weight: InputTensor[rank=3, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        gamma: InputTensor[dtype=DType.float32, rank=1, ...],
        beta: InputTensor[dtype=DType.float32, rank=1, ...],
        residual: InputTensor[dtype=DType.float32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[batch, rows, k]`, weight `[panels, lines, 16]`, y and residual `[batch, rows, n]`."""
        layer_of[portable](
            weight, bias, x.dim_size(2), norm, floats(gamma), floats(beta), gelu, adds, floats(residual)
        ).run(floats(x), x.dim_size(2), room_of(y), y.dim_size(0) * y.dim_size(1))


@extensibility.register("whisper.conv")
struct Conv:
    """A convolution of three taps is a product whose left rows overlap: row t is x[t * stride : t * stride + 3]."""

    @staticmethod
    def execute[
        stride: Int, padded: Bool, adds: Bool, portable: Bool, target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        weight: InputTensor[rank=3, ...],
        bias: InputTensor[dtype=DType.float32, rank=1, ...],
        position: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """x `[batch, frames + 2, channels]`, zero at both ends; y `[batch, frames / stride (+ 2 if padded), n]`."""
        var channels = x.dim_size(2)
        var n = y.dim_size(2)
        comptime edge = 1 if padded else 0
        var layer = layer_of[portable](
            weight, bias, 3 * channels, gelu=True, adds=adds, residual=floats(position)
        )
        for item in range(y.dim_size(0)):
            var source = floats(x).unsafe_offset(item * x.dim_size(1) * channels)
            var result = room_of(y).unsafe_offset(item * y.dim_size(1) * n)
            comptime if padded:
                for i in range(n):
                    result.unsafe_store(i, 0)
                    result.unsafe_store((y.dim_size(1) - 1) * n + i, 0)
            layer.run(source, stride * channels, result.unsafe_offset(edge * n), y.dim_size(1) - 2 * edge)


@extensibility.register("whisper.layer_norm")
struct LayerNorm:
    @staticmethod
    def execute[
        target: StaticString
    ](
        y: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        gamma: InputTensor[dtype=DType.float32, rank=1, ...],
        beta: InputTensor[dtype=DType.float32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        var n = x.dim_size(2)
        var source = floats(x)
        var result = room_of(y)
        var g = floats(gamma)
        var b = floats(beta)
        for row in range(x.dim_size(0) * x.dim_size(1)):
            normalize(source.unsafe_offset(row * n), result.unsafe_offset(row * n), n, g, b)
