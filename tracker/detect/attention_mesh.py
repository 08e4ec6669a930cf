"""MediaPipe's landmark network as a function, and the quiet import of the library.

The packaged solution does not say how sure the network is; a graph of our own around the same network does.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from tracker import image as pictures

SIDE = 192
"""The network's input, px."""

_GRAPH = """
input_stream: "IMAGE:image"
output_stream: "presence"
output_stream: "landmarks"
executor { name: "" type: "ApplicationThreadExecutor" }
node {
  calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image" output_stream: "TENSORS:input"
  options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
    output_tensor_width: 192 output_tensor_height: 192 output_tensor_float_range { min: 0 max: 1 } } }
}
node { calculator: "TfLiteCustomOpResolverCalculator" output_side_packet: "OP_RESOLVER:operators" }
node {
  calculator: "InferenceCalculator" input_side_packet: "OP_RESOLVER:operators"
  input_stream: "TENSORS:input" output_stream: "TENSORS:output"
  options { [mediapipe.InferenceCalculatorOptions.ext] {
    model_path: "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite" delegate { xnnpack {} } } }
}
node {
  calculator: "SplitTensorVectorCalculator" input_stream: "output"
  output_stream: "landmark_tensors" output_stream: "presence_tensor"
  options { [mediapipe.SplitVectorCalculatorOptions.ext] {
    ranges { begin: 0 end: 6 } ranges { begin: 6 end: 7 } } }
}
node {
  calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:presence_tensor" output_stream: "FLOAT:presence"
  options { [mediapipe.TensorsToFloatsCalculatorOptions.ext] { activation: SIGMOID } }
}
node {
  calculator: "TensorsToFaceLandmarksWithAttention"
  input_stream: "TENSORS:landmark_tensors" output_stream: "LANDMARKS:landmarks"
}
"""


class LandmarkNet:
    """The attention mesh as a function: a 192² crop to points and presence."""

    def __init__(self, mediapipe: Any) -> None:
        from google.protobuf import text_format
        from mediapipe.calculators.core import split_vector_calculator_pb2  # noqa: F401  # registers its options
        from mediapipe.calculators.tensor import (  # noqa: F401
            image_to_tensor_calculator_pb2,
            inference_calculator_pb2,
            tensors_to_floats_calculator_pb2,
        )
        from mediapipe.framework import calculator_pb2
        from mediapipe.python import CalculatorGraph, ImageFormat, packet_creator, packet_getter

        self._image = lambda data: packet_creator.create_image_frame(image_format=ImageFormat.SRGB, data=data)
        config = calculator_pb2.CalculatorGraphConfig()  # pyright: ignore[reportAttributeAccessIssue]
        self._graph = CalculatorGraph(graph_config=text_format.Parse(_GRAPH, config))
        self._out: dict[str, Any] = {}
        self._graph.observe_output_stream("presence", self._keep("presence", packet_getter.get_float))
        self._graph.observe_output_stream("landmarks", self._keep("landmarks", packet_getter.get_proto))
        self._graph.start_run({})
        self._clock = 0

    def _keep(self, name: str, read: Any) -> Any:
        def keep(_: str, packet: Any) -> None:
            self._out[name] = read(packet)

        return keep

    def __call__(
        self, crop: UInt8[np.ndarray, "192 192 3"], T_frame_from_crop: Float[np.ndarray, "2 3"] | None = None
    ) -> tuple[Float[np.ndarray, "478 2"], float]:
        """Points (px of the frame, or of the crop where no transform is given) and the presence score, [0, 1]."""
        self._graph.add_packet_to_input_stream("image", self._image(crop).at(self._clock))
        self._clock += 1
        self._graph.wait_until_idle()
        points = _coordinates(self._out["landmarks"]) * SIDE
        if T_frame_from_crop is not None:
            points = points @ T_frame_from_crop[:, :2].T + T_frame_from_crop[:, 2]
        return points, float(self._out["presence"])

    def close(self) -> None:
        self._graph.close()


def _coordinates(landmarks: Any) -> Float[np.ndarray, "478 2"]:
    """x, y of a NormalizedLandmarkList, read from its wire format: asking point by point takes far longer."""
    data = np.frombuffer(landmarks.SerializeToString(), np.uint8)
    count = len(landmarks.landmark)
    if data.size != 17 * count:  # more or fewer fields than x, y, z
        return np.array([(p.x, p.y) for p in landmarks.landmark], float)
    points = data.reshape(count, 17)  # tag, length, then (tag, float32) for each of x, y, z
    return np.stack([np.ascontiguousarray(points[:, i : i + 4]).view("<f4")[:, 0] for i in (3, 8)], 1).astype(float)


def cut(image: UInt8[np.ndarray, "H W 3"], crop: Float[np.ndarray, "4"]) -> tuple[np.ndarray, np.ndarray]:
    """The upright crop (cx, cy, side, angle) of a picture at the network's size, and the map back."""
    cx, cy, side, angle = crop
    c, s = np.cos(angle) * side / SIDE, np.sin(angle) * side / SIDE
    A = np.array([[c, -s], [s, c]])
    T_frame_from_crop = np.column_stack([A, np.array([cx, cy]) - A @ np.full(2, SIDE / 2)])
    inverse = np.linalg.inv(A)
    T_crop_from_frame = np.column_stack([inverse, -inverse @ T_frame_from_crop[:, 2]])
    return pictures.warp(image, T_crop_from_frame, (SIDE, SIDE)), T_frame_from_crop


def import_mediapipe() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the library
            import mediapipe
    except ImportError as error:
        raise ValueError(
            f"mediapipe cannot be imported ({error}); install it: pip install mediapipe==0.10.21"
        ) from None
    return mediapipe


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send the process's stderr nowhere for a moment: MediaPipe's C++ reports there that all is well."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(nowhere)
        os.close(saved)
