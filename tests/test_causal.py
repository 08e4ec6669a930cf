"""One row at a time gives what the causal smoother gives for all rows at once."""

import numpy as np
import pytest
from test_smooth import ANCHOR, FPS, PIVOT, moving_track

from tracker.causal import CausalSmoother
from tracker.smooth import SmoothConfig, smooth_track

MOVING = ("expression", "pose", "neck", "jaw", "eyes", "camera", "light")


def rows_of(track, config):
    smoother = CausalSmoother(config, PIVOT, ANCHOR, track.fps)
    return [smoother.push(track.select(slice(k, k + 1))) for k in range(len(track))]


@pytest.mark.parametrize("adapt", [True, False])
def test_it_equals_the_smoother_of_whole_tracks(adapt):
    n = 90
    rng = np.random.default_rng(3)
    valid = np.ones(n, bool)
    valid[[20, 21, 22, 50]] = False
    time = np.arange(n) / FPS + rng.uniform(-0.3, 0.3, n) / FPS
    light = rng.normal(size=(n, 9, 3)).astype(np.float32)
    confidence = rng.uniform(0.05, 1, n)
    track, _ = moving_track(n, time=time, valid=valid, confidence=confidence, light=light)
    config = SmoothConfig(method="causal", adapt=adapt)
    slow = smooth_track(track, config, PIVOT, ANCHOR)
    quick = rows_of(track, config)
    for name in MOVING:
        joined = np.concatenate([getattr(row, name) for row in quick])
        scale = np.abs(getattr(slow, name)).max() + 1e-9
        assert np.abs(joined - getattr(slow, name)).max() / scale < 1e-5, name
    assert np.abs(slow.pose - track.pose).max() > 1e-3  # it does smooth


def test_without_smoothing_rows_pass():
    track, _ = moving_track(5)
    for row, same in zip(rows_of(track, SmoothConfig(method="none")), range(5), strict=True):
        assert np.array_equal(row.expression, track.expression[same : same + 1])


def test_the_first_row_must_be_seen():
    track, _ = moving_track(2, valid=np.zeros(2, bool))
    with pytest.raises(AssertionError, match="measurement"):
        rows_of(track, SmoothConfig(method="causal"))
