"""From fragments to an 8-bit picture on the CPU: average the samples of each pixel and blend them over the frame."""

from __future__ import annotations

import numpy as np

from model.raster.cpu import compiled


@compiled
def paint(out, face, barycentric, faces, colours, opacity, uv, uv_faces, texture, samples):
    """Blend rows of samples over rows of pixels, in place.

    Args:
        out: (h, w, 3) uint8 pixels, changed.
        face, barycentric: (h · samples, w · samples) and (..., 3), as in `Fragments`.
        faces: (F, 3).
        colours: (V, 3) float32, [0, 255]; multiplied by the texture where there is one.
        opacity: (V,) float32, [0, 1].
        uv, uv_faces: (VT, 2) float32, (F, 3).
        texture: (H, W, 3) float32 multiplier, row 0 is v = 1; of size (0, 0, 3) for none.
        samples: samples per pixel and axis.
    """
    height, width = out.shape[:2]
    rows, columns = texture.shape[:2]
    share = 1.0 / (samples * samples)
    for r in range(height):
        for c in range(width):
            red = green = blue = covered = 0.0
            for dr in range(samples):
                for dc in range(samples):
                    y, x = r * samples + dr, c * samples + dc
                    index = face[y, x]
                    if index < 0:
                        continue
                    w0, w1, w2 = barycentric[y, x, 0], barycentric[y, x, 1], barycentric[y, x, 2]
                    i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
                    weight = (w0 * opacity[i] + w1 * opacity[j] + w2 * opacity[k]) * share
                    r0 = w0 * colours[i, 0] + w1 * colours[j, 0] + w2 * colours[k, 0]
                    g0 = w0 * colours[i, 1] + w1 * colours[j, 1] + w2 * colours[k, 1]
                    b0 = w0 * colours[i, 2] + w1 * colours[j, 2] + w2 * colours[k, 2]
                    if rows > 0:
                        ti, tj, tk = uv_faces[index, 0], uv_faces[index, 1], uv_faces[index, 2]
                        u = w0 * uv[ti, 0] + w1 * uv[tj, 0] + w2 * uv[tk, 0]
                        v = w0 * uv[ti, 1] + w1 * uv[tj, 1] + w2 * uv[tk, 1]
                        # The nearest texel: with several samples per pixel it is smooth enough.
                        tx = min(max(int(u * columns), 0), columns - 1)
                        ty = min(max(int((1 - v) * rows), 0), rows - 1)
                        r0 *= texture[ty, tx, 0]
                        g0 *= texture[ty, tx, 1]
                        b0 *= texture[ty, tx, 2]
                    red += weight * min(r0, 255.0)
                    green += weight * min(g0, 255.0)
                    blue += weight * min(b0, 255.0)
                    covered += weight
            if covered > 0:
                rest = 1.0 - covered
                out[r, c, 0] = np.uint8(out[r, c, 0] * rest + red + 0.5)
                out[r, c, 1] = np.uint8(out[r, c, 1] * rest + green + 0.5)
                out[r, c, 2] = np.uint8(out[r, c, 2] * rest + blue + 0.5)
