"""The inner loops of the composite, compiled: what pixels of the mesh carry, and how colours are put together."""

from __future__ import annotations

from model.raster.cpu import compiled


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
        picture: (H, W, 3) uint8, the photograph's pixels at their sources.
        carried: (h, w, 7): x, y, share, light inside the mouth, whether inside, ratio of shading, how far the texture
            stands in for what the photograph shows.
        texture: (h, w, 4) float32: RGB in [0, 255], and how far the photograph shows it.
        relief: (h, w) float32, ratio of shading by wrinkles.
    """
    height, width = carried.shape[:2]
    for r in range(height):
        for c in range(width):
            share = carried[r, c, 2]
            if share <= 0:
                continue
            own = 1.0 - share * (1.0 - texture[r, c, 3] * (1.0 - carried[r, c, 6]))
            light = carried[r, c, 3]
            ratio = 1.0 + share * (carried[r, c, 5] * relief[r, c] - 1.0)
            # What the photograph shows has its own darkness inside of the mouth already. Light that comes there has
            # been through flesh, or off it: the deeper, the redder.
            for k in range(3):
                value = own * picture[top + r, left + c, k]
                if own < 1.0:
                    value += (1.0 - own) * texture[r, c, k] * light ** (0.75 + 0.25 * k)
                value = value * ratio
                picture[top + r, left + c, k] = min(max(value + 0.5, 0.0), 255.0)


@compiled
def over(picture, matte, background, out):
    """The picture over the background by the matte; all (H, W, 3) uint8 and (H, W) float32."""
    height, width = matte.shape
    for r in range(height):
        for c in range(width):
            a = matte[r, c]
            if a >= 0.996:
                for k in range(3):
                    out[r, c, k] = picture[r, c, k]
            else:
                for k in range(3):
                    value = a * picture[r, c, k] + (1.0 - a) * background[r, c, k]
                    out[r, c, k] = min(max(value + 0.5, 0.0), 255.0)
