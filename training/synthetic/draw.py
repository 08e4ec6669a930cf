"""Compiled steps of the picture: hair and things drawn over the head's fragments, and light on all of it."""

from __future__ import annotations

import numpy as np

from model.raster.cpu import _edge, _first_centre, compiled


@compiled
def draw_over(vertices, faces, first, where, pattern, noise, face, barycentric, depth):
    """Go on drawing into the buffers of `model.raster.cpu.draw`, by its rules, leaving out what the noise cuts away.

    Args:
        vertices: (V, 3) float64, px and depth.
        faces: (F, 3); triangle i is written as ``first + i``.
        where: (V, 3) float32: place in the noise (repeats at whole numbers), and how much of the surface is left, from
            0 (none) to 1 and beyond (all).
        pattern: (F,) the noise of each triangle.
        noise: (P, n, n) float32 in [0, 1], n a power of two.
        face, barycentric, depth: (H, W), (H, W, 3), (H, W) float64; changed.
    """
    height, width = face.shape
    last = noise.shape[1] - 1
    size = noise.shape[1]
    for index in range(len(faces)):
        i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
        if where[i, 2] <= 0 and where[j, 2] <= 0 and where[k, 2] <= 0:
            continue
        ax, ay, az = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        bx, by, bz = vertices[j, 0], vertices[j, 1], vertices[j, 2]
        cx, cy, cz = vertices[k, 0], vertices[k, 1], vertices[k, 2]
        row = _first_centre(min(ay, by, cy), height)
        end_row = height - _first_centre(height - max(ay, by, cy), height)
        column = _first_centre(min(ax, bx, cx), width)
        end_column = width - _first_centre(width - max(ax, bx, cx), width)
        if row >= end_row or column >= end_column:
            continue
        sign, dx, dy, ox, oy, _ = _edge(ax, ay, bx, by)
        area = sign * (dx * (cy - oy) - dy * (cx - ox))
        if area == 0:
            continue
        front = area < 0
        if front:
            bx, by, cx, cy = cx, cy, bx, by
        sign_a, dx_a, dy_a, ox_a, oy_a, on_a = _edge(bx, by, cx, cy)
        sign_b, dx_b, dy_b, ox_b, oy_b, on_b = _edge(cx, cy, ax, ay)
        sign_c, dx_c, dy_c, ox_c, oy_c, on_c = _edge(ax, ay, bx, by)
        for r in range(row, end_row):
            y = r + 0.5
            for c in range(column, end_column):
                x = c + 0.5
                wa = sign_a * (dx_a * (y - oy_a) - dy_a * (x - ox_a))
                wb = sign_b * (dx_b * (y - oy_b) - dy_b * (x - ox_b))
                wc = sign_c * (dx_c * (y - oy_c) - dy_c * (x - ox_c))
                if not (wa >= 0 and wb >= 0 and wc >= 0):
                    continue
                if (wa == 0 and not on_a) or (wb == 0 and not on_b) or (wc == 0 and not on_c):
                    continue
                total = wa + wb + wc
                if not total > 0:
                    continue
                wa, wb, wc = wa / total, wb / total, wc / total
                if front:
                    wb, wc = wc, wb
                z = wa * az + wb * bz + wc * cz
                if z <= depth[r, c]:
                    continue
                cover = wa * where[i, 2] + wb * where[j, 2] + wc * where[k, 2]
                if cover < 1.0:
                    u = wa * where[i, 0] + wb * where[j, 0] + wc * where[k, 0]
                    v = wa * where[i, 1] + wb * where[j, 1] + wc * where[k, 1]
                    if cover <= noise[pattern[index], int(np.floor(v * size)) & last, int(np.floor(u * size)) & last]:
                        continue
                depth[r, c] = z
                face[r, c] = first + index
                barycentric[r, c, 0] = wa
                barycentric[r, c, 1] = wb
                barycentric[r, c, 2] = wc


@compiled
def shade_head(
    face, barycentric, faces, normals, uv, uv_faces, texture, skin, dark, light, half, glare, shadow, samples, out
):
    """Light on the head's fragments, averaged over the samples of each pixel.

    Args:
        face, barycentric: (H s, W s) and (..., 3); triangles beyond `faces` are left out.
        faces, normals: (F, 3), (V, 3) float32, camera axes.
        uv, uv_faces: (VT, 2) float32 in texels of `texture`, (F, 3).
        texture: (h, w, 7) float32: albedo; slope to be taken from the normal, camera axes; gloss.
        skin: (V,) float32: 1 on what the mask counts as skin.
        dark: (V,) float32 factor, for what lies in the shade of the head itself.
        light: (9, 3) float32, coefficients times the factors of `model.shading.sh_basis`.
        half: (L, 4) float32: direction between lamp and viewer; the exponent of the highlight. Where the gloss is
            negative (wet), its size counts, and the highlight is small.
        glare: (L, 3) float32: colour of the highlights.
        shadow: (H, W) float32 factor.
        samples: per pixel and axis.
        out: (H, W, 5) float32, added to: RGB times coverage, coverage, skin's coverage.
    """
    height, width = out.shape[:2]
    rows, columns = texture.shape[:2]
    share = np.float32(1.0 / (samples * samples))
    value = np.zeros(7, np.float32)
    colour = np.zeros(3, np.float32)
    for r in range(height):
        for c in range(width):
            for sub in range(samples * samples):
                y, x = r * samples + sub // samples, c * samples + sub % samples
                index = face[y, x]
                if index < 0 or index >= len(faces):
                    continue
                w0 = np.float32(barycentric[y, x, 0])
                w1 = np.float32(barycentric[y, x, 1])
                w2 = np.float32(barycentric[y, x, 2])
                i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
                ti, tj, tk = uv_faces[index, 0], uv_faces[index, 1], uv_faces[index, 2]
                tx = w0 * uv[ti, 0] + w1 * uv[tj, 0] + w2 * uv[tk, 0] - np.float32(0.5)
                ty = w0 * uv[ti, 1] + w1 * uv[tj, 1] + w2 * uv[tk, 1] - np.float32(0.5)
                tx = min(max(tx, np.float32(0)), np.float32(columns - 1))
                ty = min(max(ty, np.float32(0)), np.float32(rows - 1))
                x0, y0 = int(tx), int(ty)
                x1, y1 = min(x0 + 1, columns - 1), min(y0 + 1, rows - 1)
                fx, fy = tx - np.float32(x0), ty - np.float32(y0)
                for channel in range(7):
                    upper = texture[y0, x0, channel] + fx * (texture[y0, x1, channel] - texture[y0, x0, channel])
                    lower = texture[y1, x0, channel] + fx * (texture[y1, x1, channel] - texture[y1, x0, channel])
                    value[channel] = upper + fy * (lower - upper)
                nx = w0 * normals[i, 0] + w1 * normals[j, 0] + w2 * normals[k, 0]
                ny = w0 * normals[i, 1] + w1 * normals[j, 1] + w2 * normals[k, 1]
                nz = w0 * normals[i, 2] + w1 * normals[j, 2] + w2 * normals[k, 2]
                if value[3] != 0 or value[4] != 0 or value[5] != 0:
                    length = np.sqrt(nx * nx + ny * ny + nz * nz)
                    nx, ny, nz = nx - value[3], ny - value[4], nz - value[5]
                    scale = length / np.sqrt(nx * nx + ny * ny + nz * nz)
                    nx, ny, nz = nx * scale, ny * scale, nz * scale
                factor = shadow[r, c] * (w0 * dark[i] + w1 * dark[j] + w2 * dark[k])
                for channel in range(3):
                    lit = light[0, channel] + nx * light[1, channel] + ny * light[2, channel] + nz * light[3, channel]
                    lit += nx * ny * light[4, channel] + nx * nz * light[5, channel] + ny * nz * light[6, channel]
                    lit += (nx * nx - ny * ny) * light[7, channel] + (3 * nz * nz - 1) * light[8, channel]
                    colour[channel] = value[channel] * lit * factor
                if value[6] != 0:
                    for lamp in range(len(half)):
                        along = nx * half[lamp, 0] + ny * half[lamp, 1] + nz * half[lamp, 2]
                        if along > 0:
                            if value[6] > 0:
                                strength = value[6] * factor * along ** half[lamp, 3]
                            else:
                                strength = -value[6] * along ** np.float32(180)
                            for channel in range(3):
                                colour[channel] += strength * glare[lamp, channel]
                for channel in range(3):
                    out[r, c, channel] += share * min(max(colour[channel], np.float32(0)), np.float32(1.2))
                out[r, c, 3] += share
                out[r, c, 4] += share * (w0 * skin[i] + w1 * skin[j] + w2 * skin[k])


@compiled
def shade_things(face, barycentric, first, faces, normals, where, pattern, noise, look, light, samples, out):
    """Light on what `draw_over` drew, averaged over the samples of each pixel.

    Args:
        look: (F, 6) float32: RGB, how much the noise darkens, gloss, and by how much light passes round its edges
            (0 skin-like, 1 as flat as paper).
        out: (H, W, 4) float32, added to: RGB times coverage, coverage.
    """
    height, width = out.shape[:2]
    share = np.float32(1.0 / (samples * samples))
    size, last = noise.shape[1], noise.shape[1] - 1
    for r in range(height):
        for c in range(width):
            for sub in range(samples * samples):
                y, x = r * samples + sub // samples, c * samples + sub % samples
                index = face[y, x] - first
                if index < 0 or index >= len(faces):
                    continue
                w0 = np.float32(barycentric[y, x, 0])
                w1 = np.float32(barycentric[y, x, 1])
                w2 = np.float32(barycentric[y, x, 2])
                i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
                nx = w0 * normals[i, 0] + w1 * normals[j, 0] + w2 * normals[k, 0]
                ny = w0 * normals[i, 1] + w1 * normals[j, 1] + w2 * normals[k, 1]
                nz = w0 * normals[i, 2] + w1 * normals[j, 2] + w2 * normals[k, 2]
                inner = np.float32(1)
                if nz < 0:  # the inside of a curtain, where less light comes
                    nx, ny, nz = -nx, -ny, -nz
                    inner = np.float32(0.6)
                u = w0 * where[i, 0] + w1 * where[j, 0] + w2 * where[k, 0]
                v = w0 * where[i, 1] + w1 * where[j, 1] + w2 * where[k, 1]
                grain = noise[pattern[index], int(np.floor(v * size)) & last, int(np.floor(u * size)) & last]
                flat = np.float32(1) - look[index, 5]
                nx, ny, nz = nx * flat, ny * flat, nz * flat + look[index, 5]
                factor = np.float32(1) + look[index, 3] * (np.float32(2) * grain - np.float32(1))
                shine = look[index, 4] * grain * grain * max(np.float32(0), ny + np.float32(0.3)) ** 8
                for channel in range(3):
                    lit = light[0, channel] + nx * light[1, channel] + ny * light[2, channel] + nz * light[3, channel]
                    lit += nx * ny * light[4, channel] + nx * nz * light[5, channel] + ny * nz * light[6, channel]
                    lit += (nx * nx - ny * ny) * light[7, channel] + (3 * nz * nz - 1) * light[8, channel]
                    value = inner * lit * (look[index, channel] * factor + shine)
                    out[r, c, channel] += share * min(max(value, np.float32(0)), np.float32(1.2))
                out[r, c, 3] += share
