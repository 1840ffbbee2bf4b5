"""The operators that are known here, by their names in TFLite's schema."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgeweave.targets.npu_ethos_u.integer import (
    activations,
    convolution,
    elementwise,
    movement,
    pooling,
    products,
    resize,
    softmax,
)
from edgeweave.targets.npu_ethos_u.integer.call import Kernel

KERNELS: Mapping[str, Kernel] = MappingProxyType(
    {
        "ADD": elementwise.add,
        "AVERAGE_POOL_2D": pooling.average_pool,
        "BATCH_MATMUL": products.batch_matmul,
        "CONCATENATION": movement.concatenate,
        "CONV_2D": convolution.convolve,
        "DEPTHWISE_CONV_2D": convolution.convolve_depthwise,
        "EXP": activations.exponential,
        "EXPAND_DIMS": movement.reshape,
        "FULLY_CONNECTED": products.fully_connected,
        "HARD_SWISH": activations.hard_swish,
        "LEAKY_RELU": activations.leaky_relu,
        "LOGISTIC": activations.logistic,
        "MAXIMUM": elementwise.maximum,
        "MAX_POOL_2D": pooling.max_pool,
        "MEAN": pooling.mean,
        "MINIMUM": elementwise.minimum,
        "MIRROR_PAD": movement.mirror_pad,
        "MUL": elementwise.multiply_values,
        "PACK": movement.pack,
        "PAD": movement.pad,
        "PADV2": movement.pad,
        "PRELU": activations.prelu,
        "QUANTIZE": activations.requantise_value,
        "REDUCE_MAX": pooling.reduce_max,
        "REDUCE_MIN": pooling.reduce_min,
        "RELU": activations.relu,
        "RELU6": activations.relu6,
        "RELU_N1_TO_1": activations.relu_n1_to_1,
        "RESHAPE": movement.reshape,
        "RESIZE_BILINEAR": resize.resize_bilinear,
        "RESIZE_NEAREST_NEIGHBOR": resize.resize_nearest,
        "SLICE": movement.slice_box,
        "SOFTMAX": softmax.softmax,
        "SPLIT": movement.split,
        "SPLIT_V": movement.split_sizes,
        "SQUEEZE": movement.reshape,
        "STRIDED_SLICE": movement.slice_strided,
        "SUB": elementwise.subtract,
        "TANH": activations.tanh,
        "TILE": movement.tile,
        "TRANSPOSE": movement.transpose,
        "TRANSPOSE_CONV": convolution.convolve_transposed,
        "UNPACK": movement.unpack,
    }
)
