"""The pictures that are looked at: a photograph and its mirror image, by an untrained network."""

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from model.io.assets import load_head
from model.io.checkpoints import save_checkpoint
from tracker.image import read_image, write_image
from training.config import ModelConfig, TrainConfig
from training.evaluate.__main__ import main
from training.stages.start import new_deca

SIZE = 64
COLUMNS = 8


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "fresh.safetensors"
    model = ModelConfig(backbone="keypoints", resolution=64, uv_size=16, gaze=True, detail=8)
    save_checkpoint(new_deca(load_head(), TrainConfig(model=model)), path)
    return path


def test_a_page_shows_every_face_in_every_way(tmp_path: Path, weights: Path) -> None:
    photo = np.ascontiguousarray(data.astronaut()[:280, 90:370])
    photos = tmp_path / "photos"
    photos.mkdir()
    write_image(photos / "a.png", photo)
    write_image(photos / "b.png", np.ascontiguousarray(photo[:, ::-1]))
    arguments = [str(photos), "--weights", str(weights), "--size", str(SIZE), "--no-fit"]
    assert main(["pictures", *arguments, "--out", str(tmp_path / "out")]) == 0
    page = read_image(tmp_path / "out" / "people-00.png")
    label = page.shape[0] - 2 * SIZE
    assert 0 < label < 30 and page.shape[1] == COLUMNS * SIZE
    tiles = page[label:].reshape(2, SIZE, COLUMNS, SIZE, 3).swapaxes(1, 2).astype(float)
    first, second = tiles[0, 0], tiles[1, 0]
    assert np.abs(first - second[:, ::-1]).mean() < 6  # the crops are of mirrored pictures
    assert all(tile.std() > 5 for tile in tiles[:, :7].reshape(-1, SIZE, SIZE, 3))
    assert np.abs(tiles[0, 2] - tiles[0, 0]).mean() > 5  # a grey head lies over the photograph


def test_mistakes(tmp_path: Path, weights: Path) -> None:
    photo = tmp_path / "one.png"
    write_image(photo, np.ascontiguousarray(data.astronaut()[:280, 90:370]))
    with pytest.raises(ValueError, match="--out is missing"):
        main(["pictures", str(photo), "--weights", str(weights)])
    with pytest.raises(ValueError, match="a face in 1 of 1 photographs"):
        main(["pictures", str(photo), "--weights", str(weights), "--out", str(tmp_path / "out")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures in there"):
        main(["pictures", str(tmp_path / "empty"), "--weights", str(weights), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
