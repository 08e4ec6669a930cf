"""The inner loops of the composite, compiled: what pixels of the mesh carry, and how colours are put together."""

from __future__ import annotations

from model.raster.cpu import compiled

_APART = 2.0  # px squared: samples of one pixel whose sources lie further apart are of different things
_MIXED = 0.1  # likewise, by the photograph's part


@compiled
def carry(face, barycentric, faces, uv_faces, attributes, uv, out, uv_out):
    """Vertex attributes and texture coordinates at the pixels; zero where no mesh is.

    Args:
        face, barycentric: (h, w), (h, w, 3), as `Fragments`.
        attributes: (V, C) float32.
        uv: (VT, 2) float32, texels.
        out: (h, w, C) float32, changed.
        uv_out: (h, w, 2) float32, changed.
    """
    height, width = face.shape
    channels = attributes.shape[1]
    for r in range(height):
        for c in range(width):
            index = face[r, c]
            if index < 0:
                for k in range(channels):
                    out[r, c, k] = 0.0
                uv_out[r, c, 0] = -1.0
                uv_out[r, c, 1] = -1.0
                continue
            w0, w1, w2 = barycentric[r, c, 0], barycentric[r, c, 1], barycentric[r, c, 2]
            i, j, k2 = faces[index, 0], faces[index, 1], faces[index, 2]
            for k in range(channels):
                out[r, c, k] = w0 * attributes[i, k] + w1 * attributes[j, k] + w2 * attributes[k2, k]
            i, j, k2 = uv_faces[index, 0], uv_faces[index, 1], uv_faces[index, 2]
            uv_out[r, c, 0] = w0 * uv[i, 0] + w1 * uv[j, 0] + w2 * uv[k2, 0]
            uv_out[r, c, 1] = w0 * uv[i, 1] + w1 * uv[j, 1] + w2 * uv[k2, 1]


@compiled
def mix_sources(source, carried, left, top):
    """Lay the mesh's sources over the field's, in place, by the mesh's share.

    Args:
        source: (H, W, 2) float32, where the window's pixels come from.
        carried: (h, w, C) with x, y, share in front.
    """
    height, width = carried.shape[:2]
    for r in range(height):
        for c in range(width):
            share = carried[r, c, 2]
            if share > 0:
                source[top + r, left + c, 0] += share * (carried[r, c, 0] - source[top + r, left + c, 0])
                source[top + r, left + c, 1] += share * (carried[r, c, 1] - source[top + r, left + c, 1])


@compiled
def mix_colours(picture, carried, texture, relief, left, top):
    """Relight the photograph's pixels on the mesh and put the texture where the photograph shows nothing, in place.

    Args:
        picture: (H, W, 4) float32, the person at the pixels' sources: RGB in [0, 255] times the matte, and the matte.
        carried: (h, w, 8): x, y, share, light inside the mouth, whether inside, ratio of shading, how far the texture
            stands in for what the photograph shows, how far the surface has left the photograph's. The share is
            changed: to the part of the pixel that is the photograph's.
        texture: (h, w, 4) float32: RGB in [0, 255], and how far the photograph shows it.
        relief: (h, w) float32, ratio of shading by wrinkles.
    """
    height, width = carried.shape[:2]
    for r in range(height):
        for c in range(width):
            share = carried[r, c, 2]
            carried[r, c, 2] = 1.0
            if share <= 0:
                continue
            own = 1.0 - share * carried[r, c, 7] * (1.0 - texture[r, c, 3] * (1.0 - carried[r, c, 6]))
            carried[r, c, 2] = own
            light = carried[r, c, 3]
            ratio = 1.0 + share * (carried[r, c, 5] * relief[r, c] - 1.0)
            # What the photograph shows has its own darkness inside of the mouth already. Light that comes there has
            # been through flesh, or off it: the deeper, the redder.
            for k in range(3):
                value = own * picture[top + r, left + c, k]
                if own < 1.0:
                    value += (1.0 - own) * texture[r, c, k] * light ** (0.75 + 0.25 * k)
                picture[top + r, left + c, k] = value * ratio
            picture[top + r, left + c, 3] = own * picture[top + r, left + c, 3] + (1.0 - own)


@compiled
def resolve(fine, source, own, out, left, top):
    """Take the mean of four samples where they differ in kind; elsewhere one sample is sharper.

    Args:
        fine: (2h, 2w, 4) float32, the samples.
        source: (2h, 2w, 2) float32, where they come from, px.
        own: (2h, 2w) float32, the photograph's part in them.
        out: (H, W, 4) float32, changed.
    """
    for r in range(fine.shape[0] // 2):
        for c in range(fine.shape[1] // 2):
            apart, least, most = 0.0, 1.0, 0.0
            for i in range(2):
                for j in range(2):
                    y, x = 2 * r + i, 2 * c + j
                    least, most = min(least, own[y, x]), max(most, own[y, x])
                    dx, dy = source[y, x, 0] - source[2 * r, 2 * c, 0], source[y, x, 1] - source[2 * r, 2 * c, 1]
                    apart = max(apart, dx * dx + dy * dy)
            if apart < _APART and most - least < _MIXED:
                continue
            for k in range(4):
                total = fine[2 * r, 2 * c, k] + fine[2 * r, 2 * c + 1, k]
                total += fine[2 * r + 1, 2 * c, k] + fine[2 * r + 1, 2 * c + 1, k]
                out[top + r, left + c, k] = 0.25 * total


@compiled
def over(picture, background, out):
    """The person over the background: (H, W, 4) float32, colours times matte and matte; (H, W, 3) uint8."""
    height, width = out.shape[:2]
    for r in range(height):
        for c in range(width):
            rest = 1.0 - min(max(picture[r, c, 3], 0.0), 1.0)
            for k in range(3):
                value = picture[r, c, k] + rest * background[r, c, k]
                out[r, c, k] = min(max(value + 0.5, 0.0), 255.0)
