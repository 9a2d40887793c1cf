"""Packs pixels bit by bit, as the GenICam Pixel Format Naming Convention describes it."""

from collections.abc import Callable, Mapping, Sequence


def pack_in_row(pixels: Sequence[int], bits: int) -> bytes:
    """Lay pixels into one long row of bits, the lowest first (``Mono10p``, ``Mono12p``)."""
    row = sum(pixel << (bits * index) for index, pixel in enumerate(pixels))
    return row.to_bytes(len(pixels) * bits // 8, "little")


def pack_pairs(pixels: Sequence[int], bits: int) -> bytes:
    """Lay two pixels into three bytes, the low bits of both in the middle one (``…Packed``)."""
    low = bits - 8
    packed = bytearray()
    for first, second in zip(pixels[::2], pixels[1::2], strict=True):
        middle = (first % (1 << low)) | (second % (1 << low)) << 4
        packed += bytes([first >> low, middle, second >> low])
    return bytes(packed)


PACKERS: Mapping[str, tuple[int, Callable[[Sequence[int]], bytes]]] = {
    "Mono10p": (10, lambda pixels: pack_in_row(pixels, 10)),
    "Mono12p": (12, lambda pixels: pack_in_row(pixels, 12)),
    "Mono10Packed": (10, lambda pixels: pack_pairs(pixels, 10)),
    "Mono12Packed": (12, lambda pixels: pack_pairs(pixels, 12)),
}
"""Bits of a pixel, and what packs them, by the name of the format."""
