"""Linear layers and convolutions as ops; `layer.mojo` is what they do."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext

from .layer import Layer, normalize


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
        Layer[weight.dtype, portable](
            weight.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            bias.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            residual.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            gamma.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            beta.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            weight.dim_size(1),
            x.dim_size(2),
            y.dim_size(2),
            norm,
            gelu,
            adds,
        ).run(
            x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            x.dim_size(2),
            y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            y.dim_size(0) * y.dim_size(1),
        )


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
        var layer = Layer[weight.dtype, portable](
            weight.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            bias.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            position.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            bias.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            bias.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin](),
            weight.dim_size(1),
            3 * channels,
            n,
            False,
            True,
            adds,
        )
        for item in range(y.dim_size(0)):
            var source = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]().unsafe_offset(item * x.dim_size(1) * channels)
            var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]().unsafe_offset(item * y.dim_size(1) * n)
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
        var source = x.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var result = y.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var g = gamma.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        var b = beta.unsafe_ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        for row in range(x.dim_size(0) * x.dim_size(1)):
            normalize(source.unsafe_offset(row * n), result.unsafe_offset(row * n), n, g, b)
