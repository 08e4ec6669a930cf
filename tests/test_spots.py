"""Spots of the surface that a backbone learns to see."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.asset import HeadAsset
from model.camera import project_crop
from model.head import HeadModel
from model.params import CropCamera, FaceParams
from training.data.sample import Labels
from training.stages.spots import Spots, at_vertices, spots_loss, spread_vertices

COUNT = 12


def some_labels(head: HeadModel) -> Labels:
    torch.manual_seed(0)
    neutral = head.neutral(2)
    face = replace(
        neutral,
        shape=torch.randn_like(neutral.shape),
        pose=0.3 * torch.randn(2, 3),
        jaw=torch.tensor([[0.2, 0, 0]] * 2),
    )
    camera = CropCamera(torch.tensor([7.0, 8.0]), torch.tensor([[0.01, 0.0], [0.0, 0.02]]))
    known = torch.tensor([True, True])
    return Labels(face, torch.zeros(2, 5), torch.zeros(2, 9, 3), camera, known, known)


def test_spots_lie_where_the_known_head_has_them(tiny_head: HeadAsset) -> None:
    head = HeadModel(tiny_head)
    labels = some_labels(head)
    assert isinstance(labels.camera, CropCamera) and isinstance(labels.face, FaceParams)
    vertices = spread_vertices(tiny_head, COUNT)
    wanted = project_crop(labels.camera, head(labels.face)[:, vertices])[..., :2]
    found = Spots(head, COUNT)(labels)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_spots_are_of_the_face_and_all_differ(tiny_head: HeadAsset) -> None:
    vertices = spread_vertices(tiny_head, COUNT)
    assert len(set(vertices.tolist())) == COUNT
    assert (tiny_head.regions["skin"][vertices] > 0.5).all()
    points = at_vertices(tiny_head, vertices)
    corner = tiny_head.faces[points.face, points.barycentric.argmax(1)]
    assert (corner == vertices).all() and (points.barycentric.sum(1) == 1).all()
    assert (spread_vertices(tiny_head, COUNT - 4) == vertices[:-4]).all()  # each follows from those before it


def test_what_moves_apart_counts_as_far_apart(tiny_head: HeadAsset) -> None:
    allowed = np.flatnonzero(tiny_head.regions["skin"] > 0.5)
    moving = np.zeros_like(tiny_head.exprdirs)
    moving[allowed[5], :, 0] = 10.0
    vertices = spread_vertices(replace(tiny_head, exprdirs=moving), 2)
    assert allowed[5] in vertices


def test_the_loss_is_zero_at_the_truth_and_blind_to_what_is_not_known(tiny_head: HeadAsset) -> None:
    truth = Spots(HeadModel(tiny_head), COUNT)(some_labels(HeadModel(tiny_head)))
    known = torch.tensor([True, False])
    assert spots_loss(truth, truth, known).item() == 0
    seen = truth.clone()
    seen[1] += 5.0
    assert spots_loss(seen, truth, known).item() == 0
    seen[0, :, 0] += 0.5
    assert spots_loss(seen, truth, known).item() == pytest.approx(0.25, abs=1e-6)
    assert spots_loss(seen, truth, torch.tensor([False, False])).item() == 0


def test_more_spots_than_vertices_are_refused(tiny_head: HeadAsset) -> None:
    with pytest.raises(ValueError, match="the backbone has 100000 spots"):
        spread_vertices(tiny_head, 100_000)
