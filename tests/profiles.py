"""Colour profiles for images."""

import struct

from PIL import ImageCms


def profile(name: str) -> bytes:
    """An ICC profile with sRGB's curve and the primaries of a colour space."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Display P3's primaries, adapted to D50 (as Apple's own profile has them).
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for entry in range(int.from_bytes(content[128:132], "big") if name == "Display P3" else 0):
        tag, place = content[132 + 12 * entry :][:4], 136 + 12 * entry
        if bytes(tag) in primaries:
            start = int.from_bytes(content[place : place + 4], "big") + 8
            values = [round(value * 65536) for value in primaries[bytes(tag)]]
            content[start : start + 12] = struct.pack(">3i", *values)
    return bytes(content)
