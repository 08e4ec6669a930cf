"""DECA and what it is made of: tensors in, tensors out.

Conventions, written once
-------------------------
Head space
    Metres. +x towards the subject's left, +y up, +z out of the face. After the global rotation the axes are the
    camera's: +x to the right of the picture, +y up, +z towards the camera.
Image space
    Pixels. The origin is the top-left *corner* of the top-left pixel (its centre is at (0.5, 0.5)); x right, y down.
Full-frame camera
    ``(s, tx, ty)`` in px/m, px, px; scaled orthographic: ``u = s * X + tx``, ``v = -s * Y + ty``.
Rotations
    Axis-angle (radians) in records, matrices (via ``roma``) inside the code.
Images
    In tensors: float, RGB, [0, 1], ``... 3 H W``. Frames of a video are NumPy ``uint8`` ``H W 3``, RGB.
Transforms
    Named ``T_to_from``.
Codes
    Identity in standard deviations. Expression in [0, 1] per named unit for openhead, in standard deviations for FLAME.
Skeleton
    Joints ``root, neck, jaw, left eye, right eye``; "left" is always the subject's left.
"""
