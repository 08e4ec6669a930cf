"""The fit while frames arrive: one face, one frame at a time, with an identity that is found on the way.

A frame is fitted as in `fit_face`. The identity is what some keyframes of the first seconds say together, solved in a
thread beside; until the first answer it is the network's, or the mean head's. Once settled it stays.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tracker.encode import joined as joined_codes
from tracker.fit.network import Judged, NetworkEstimate, alone, judge
from tracker.fit.problem import Problem
from tracker.fit.result import FaceFit
from tracker.fit.rig import Pose
from tracker.fit.solve import solve_frames
from tracker.network import NetworkFacts
from tracker.observation import FaceCodes

SOLVED_AT = (4, 12, 24)
"""Numbers of keyframes with which the identity is solved; after the last it stays."""
APART = 0.2
"""Seconds between keyframes."""


@dataclass(frozen=True)
class _Key:
    points: Float[np.ndarray, "M 2"]
    confidence: float
    codes: FaceCodes | None


class LiveFit:
    """Fits one face as it is seen.

    Args:
        problem: of the head and the detector's landmarks; shared by all faces.
        network: what is known of the network; None without one.
        worker: runs the solutions of the identity.
    """

    def __init__(self, problem: Problem, network: NetworkFacts | None, worker: ThreadPoolExecutor) -> None:
        self._problem, self._network, self._worker = problem, network, worker
        self._keys: list[_Key] = []
        self._next_key = 0.0
        self._solving: Future[Tensor] | None = None
        self._before: Tensor | None = None  # the face of the frame before: expression, jaw, eyes
        self.identity = torch.zeros(1, problem.rig.n_shape, device=problem.device)
        self._started = False

    @property
    def settled(self) -> bool:
        """Whether the identity stays from now on."""
        return len(self._keys) >= SOLVED_AT[-1] and self._solving is None

    @property
    def keys(self) -> int:
        """How many keyframes there are."""
        return len(self._keys)

    def see(self, points: Float[np.ndarray, "M 2"], confidence: float, codes: FaceCodes | None, time: float) -> FaceFit:
        """The head of a frame; one row, in the units of `params.npz`.

        Args:
            points: landmarks of the scheme, px.
            codes: what the network says of it, one row.
            time: s.
        """
        self._take_identity()
        self._keep(_Key(points, confidence, codes), time)
        fit = self.fitted(points, confidence, codes, self._before)
        e = self._problem.rig.n_expression
        eyes = torch.from_numpy(fit.eyes).reshape(1, 2, 3)[..., :2].reshape(1, 4)
        self._before = torch.cat([torch.from_numpy(fit.expression), torch.from_numpy(fit.jaw), eyes], 1)
        assert self._before.shape[1] == e + 7
        return fit

    def fitted(
        self,
        points: Float[np.ndarray, "M 2"],
        confidence: float,
        codes: FaceCodes | None,
        start: Float[Tensor, "1 C"] | None = None,
    ) -> FaceFit:
        """The head of a frame with the identity that is known now.

        Args:
            start: expression, jaw and eyes to start from.
        """
        with torch.inference_mode():
            return self._fitted(points, confidence, codes, start)

    def _fitted(self, points: np.ndarray, confidence: float, codes: FaceCodes | None, start: Tensor | None) -> FaceFit:
        problem = self._problem
        trust = np.array([confidence], np.float32)
        judged = self._judged([_Key(points, confidence, codes)])
        view = problem.view(points[None].astype(np.float32), trust)
        if judged is not None and not problem.config.landmarks:
            return alone(problem, view, self.identity, judged, trust)
        told = judged and judged.measured(problem, view)
        view = view.doubted(told)
        neutral = view.rig.neutral(self.identity)
        first = view.start if start is None else Pose(start.to(view.scale), view.start.rotation, view.start.camera)
        first = problem.better_start(view, neutral, first, told)
        pose = solve_frames(view.rig, neutral, view.seen, problem.prior, first, problem.config.steps, told)
        return problem.record(view, neutral, self.identity, pose, trust, told)

    def finish(self) -> None:
        """Wait for the identity that is being solved, and take it; a session of a second has one too."""
        if self._solving is None and self._keys and len(self._keys) < SOLVED_AT[-1]:
            self._solving = self._worker.submit(self._solved, list(self._keys))
        if self._solving is not None:
            self.identity, self._solving = self._solving.result(), None

    def _keep(self, key: _Key, time: float) -> None:
        if not self._started:
            self._started = True
            judged = self._judged([key])
            person = judged and judged.identity()
            if person is not None:
                self.identity = torch.from_numpy(person).to(self.identity)
        if len(self._keys) >= SOLVED_AT[-1] or time < self._next_key:
            return
        self._next_key = time + APART
        self._keys.append(key)
        if len(self._keys) in SOLVED_AT and self._solving is None:
            self._solving = self._worker.submit(self._solved, list(self._keys))

    def _take_identity(self) -> None:
        if self._solving is not None and self._solving.done():
            self.identity, self._solving = self._solving.result(), None

    def _solved(self, keys: list[_Key]) -> Tensor:
        """The identity that some frames say together; as in `fit_face`."""
        problem = self._problem
        judged = self._judged(keys)
        if judged is not None and not problem.config.landmarks:
            person = judged.identity()
            return self.identity if person is None else torch.from_numpy(person).to(self.identity)
        trust = np.array([key.confidence for key in keys], np.float32)
        view = problem.view(np.stack([key.points for key in keys]).astype(np.float32), trust)
        told = judged and judged.measured(problem, view)
        owner = torch.zeros(len(view), dtype=torch.long, device=problem.device)
        identity, _ = problem.solve_identity(view.doubted(told), owner, 1, told, judged and judged.person(problem))
        return identity

    def _judged(self, keys: list[_Key]) -> Judged | None:
        known = [key.codes for key in keys if key.codes is not None]
        if self._network is None or len(known) < len(keys):
            return None
        codes = joined_codes(known)
        estimate = NetworkEstimate(codes, self._network.errors, self._network.resolution)
        points = np.stack([key.points for key in keys])
        trust = np.array([key.confidence for key in keys], np.float32)
        return judge(self._problem, lambda rows: points[rows], trust, estimate, whole=len(keys) > 1)
