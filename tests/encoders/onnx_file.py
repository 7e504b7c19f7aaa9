"""A minimal ONNX file, written byte by byte, so that the ONNX path is tested with a network whose answer is known.

Field numbers are those of onnx.proto (ModelProto: 1 ir_version, 7 graph, 8 opset_import; GraphProto: 1 node, 2 name,
11 input, 12 output; NodeProto: 1 input, 2 output, 4 op_type, 5 attribute).
"""

from __future__ import annotations

UINT8, FLOAT = 2, 1


def varint(value: int) -> bytes:
    """Protocol buffers' variable-length integer."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | str | bytes) -> bytes:
    """One field: an integer, or length-delimited bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def tensor(name: str, kind: int, dims: list[str | int]) -> bytes:
    """ValueInfoProto of a tensor; a string is a free dimension."""
    shape = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def node(operator: str, source: str, target: str, *attributes: bytes) -> bytes:
    """NodeProto of one input and one output."""
    return field(1, source) + field(2, target) + field(4, operator) + b"".join(field(5, a) for a in attributes)


def integers(name: str, values: list[int]) -> bytes:
    """AttributeProto of type INTS (7)."""
    return field(1, name) + b"".join(field(8, v) for v in values) + field(20, 7)


def integer(name: str, value: int) -> bytes:
    """AttributeProto of type INT (2)."""
    return field(1, name) + field(3, value) + field(20, 2)


def channel_means(*, uint8: bool) -> bytes:
    """An ONNX model giving each image's mean per channel, Float[B 3].

    ``uint8``: input ``image`` UInt8[B H W 3], as packaged SSCD takes it; else Float[B 3 H W], as exported SSCD does.
    """
    entry = tensor("image", UINT8, ["b", "h", "w", 3]) if uint8 else tensor("image", FLOAT, ["b", 3, "h", "w"])
    cast = node("Cast", "image", "pixels", integer("to", FLOAT))
    axes = [1, 2] if uint8 else [2, 3]
    mean = node("ReduceMean", "pixels", "embedding", integers("axes", axes), integer("keepdims", 0))
    graph = b"".join(field(1, n) for n in (cast, mean)) + field(2, "means")
    graph += field(11, entry) + field(12, tensor("embedding", FLOAT, ["b", 3]))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))
