"""Photos and their cameras from the files of nerfstudio, COLMAP and INRIA: one truth, written and read in each."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blueprint.cameras.dataset import read_photos
from blueprint.errors import UserError
from blueprint.lens import Lens

FOX = Path("../shared/data/fox")
SIZES = [(640, 480), (600, 500)]
PINHOLE = [(480.61, 481.54, 324.19, 210.06), (500.0, 501.0, 300.5, 250.25)]
BENT = (0.05, -0.08, 0.001, -0.002)


def truth(count=4):
    """World-to-camera matrices; photos take turns between two cameras."""
    rng = np.random.default_rng(3)
    viewmats = np.tile(np.eye(4), (count, 1, 1))
    viewmats[:, :3, :3] = Rotation.random(count, random_state=4).as_matrix()
    viewmats[:, :3, 3] = rng.normal(0, 3, (count, 3))
    return viewmats


def write_transforms(folder, viewmats):
    frames = []
    for number, viewmat in enumerate(viewmats):
        (w, h), (fx, fy, cx, cy) = SIZES[number % 2], PINHOLE[number % 2]
        pose = np.linalg.inv(viewmat) @ np.diag([1, -1, -1, 1])
        intrinsics = {"w": w, "h": h, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}
        frames.append({"file_path": f"./images/{number}.png", "transform_matrix": pose.tolist(), **intrinsics})
    k1, k2, p1, p2 = BENT
    content = {"camera_model": "OPENCV", "k1": k1, "k2": k2, "p1": p1, "p2": p2, "frames": frames}
    content |= {"train_filenames": ["./images/0.png", "./images/2.png"], "test_filenames": ["./images/1.png"]}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder / "transforms.json"


def quaternion(viewmat):
    return Rotation.from_matrix(viewmat[:3, :3]).as_quat(scalar_first=True)


def write_colmap(folder, viewmats, suffix):
    """A sparse model with two OPENCV cameras and some points per image, byte by byte."""
    folder.mkdir(parents=True)
    cameras = [(7 + i, 4, *SIZES[i], *PINHOLE[i], *BENT) for i in range(2)]
    images = [(n + 1, *quaternion(v), *v[:3, 3], 7 + n % 2, f"{n}.png") for n, v in enumerate(viewmats)]
    if suffix == ".txt":
        rows = [" ".join(map(str, (c[0], "OPENCV", *c[2:]))) for c in cameras]
        (folder / "cameras.txt").write_text("# list of cameras\n" + "\n".join(rows) + "\n")
        rows = [" ".join(map(str, image)) + "\n" + ("1.5 2.5 -1" if n % 2 else "") for n, image in enumerate(images)]
        (folder / "images.txt").write_text("# list of images\n" + "\n".join(rows) + "\n")
        return folder
    data = struct.pack("<Q", 2) + b"".join(struct.pack("<IiQQ8d", *camera) for camera in cameras)
    (folder / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(images))
    for number, (*head, name) in enumerate(images):
        points = struct.pack("<ddq", 1.5, 2.5, -1) * number
        data += struct.pack("<I7dI", *head) + name.encode() + b"\0" + struct.pack("<Q", number) + points
    (folder / "images.bin").write_bytes(data)
    return folder


def write_inria(folder, viewmats):
    cameras = []
    for number, viewmat in enumerate(viewmats):
        (w, h), (fx, fy, *_), pose = SIZES[number % 2], PINHOLE[number % 2], np.linalg.inv(viewmat)
        camera = {"id": number, "img_name": str(number), "width": w, "height": h, "fx": fx, "fy": fy}
        cameras.append({**camera, "position": pose[:3, 3].tolist(), "rotation": pose[:3, :3].tolist()})
    (folder / "cameras.json").write_text(json.dumps(cameras))
    return folder / "cameras.json"


@pytest.mark.parametrize("kind", ["transforms", "bin", "txt", "inria"])
def test_the_same_cameras_from_every_file(tmp_path, kind):
    viewmats = truth()
    (tmp_path / "images").mkdir()
    for number in range(4):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "2.png"), np.zeros((4, 6), np.uint8))
    if kind == "transforms":
        write_transforms(tmp_path, viewmats)
    elif kind == "inria":
        write_inria(tmp_path, viewmats)
    else:
        write_colmap(tmp_path / "sparse" / "0", viewmats, f".{kind}")
    photos = read_photos(tmp_path)  # the folder is enough
    assert [Path(photo.name).stem for photo in photos] == ["0", "1", "2", "3"]
    assert all(photo.image.is_file() for photo in photos)
    assert [photo.mask is not None for photo in photos] == [False, False, True, False]
    for number, (photo, viewmat) in enumerate(zip(photos, viewmats, strict=True)):
        (fx, fy, cx, cy), (w, h) = PINHOLE[number % 2], SIZES[number % 2]
        assert np.abs(photo.viewmat - viewmat).max() < 1e-9
        assert (photo.width, photo.height) == (w, h)
        middle = (w / 2, h / 2) if kind == "inria" else (cx, cy)
        assert np.allclose(photo.K, [[fx, 0, middle[0]], [0, fy, middle[1]], [0, 0, 1]], rtol=0, atol=1e-9)
        assert photo.lens == (None if kind == "inria" else Lens("OPENCV", BENT))
    expected = ["train", "test", "train", None] if kind == "transforms" else [None] * 4
    assert [photo.split for photo in photos] == expected


def test_fox_from_both_of_its_files():
    if not FOX.exists():
        pytest.skip(f"{FOX} (a capture that the repository does not carry) is not there")
    photos, colmap = read_photos(FOX / "transforms.json"), read_photos(FOX / "sparse" / "0")
    assert len(photos) == len(colmap) == 50
    by_name = {photo.image.name: photo for photo in colmap}
    for photo in photos:
        other = by_name[photo.image.name]
        assert photo.image.is_file() and other.image.samefile(photo.image)
        assert np.abs(photo.viewmat - other.viewmat).max() < 1e-5
        assert np.abs(photo.K - other.K).max() < 1e-6 and (photo.width, photo.height) == (270, 480)
        assert photo.lens == other.lens == Lens("OPENCV", (0.0578421, -0.0805099, -0.000980296, 0.00015575))
    assert sum(photo.split == "train" for photo in photos) == 44
    assert sum(photo.split == "test" for photo in photos) == 6


def test_poses_become_rotations(tmp_path):
    """What is off by 8e-4 moves a picture by centimetres at 30 m in one rasterizer and not in another."""
    viewmats = truth()
    path = write_inria(tmp_path, viewmats)
    content = json.loads(path.read_text())
    rng = np.random.default_rng(0)
    for camera in content:
        camera["rotation"] = (np.array(camera["rotation"]) + rng.normal(0, 8e-4, (3, 3))).tolist()
    path.write_text(json.dumps(content))
    for photo, viewmat in zip(read_photos(path), viewmats, strict=True):
        rotation = photo.viewmat[:3, :3]
        assert np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-12
        assert np.abs(rotation - viewmat[:3, :3]).max() < 3e-3
        assert np.allclose(np.linalg.inv(photo.viewmat)[:3, 3], np.linalg.inv(viewmat)[:3, 3])
    content[2]["rotation"] = (2 * np.eye(3)).tolist()
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"cameras\.json: .* frame 2 is not a rotation"):
        read_photos(path)


def test_blender_and_instant_ngp(tmp_path):
    """Without suffixes, sizes and focal lengths: they follow from the pictures and the field of view."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    frame = {"file_path": "./a", "transform_matrix": np.eye(4).tolist()}
    for split in ("train", "test"):
        content = {"camera_angle_x": np.pi / 2, "frames": [frame]}
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="the photo a stands more than once"):
        read_photos(tmp_path)
    photo = read_photos(tmp_path / "transforms_test.json")[0]
    assert (photo.image, photo.split) == (tmp_path / "a.png", "test")
    assert np.allclose(photo.K, [[32, 0, 32], [0, 32, 24], [0, 0, 1]])
    fisheye = {"is_fisheye": True, "k1": 0.1, "w": 64, "h": 48, "fl_x": 30}
    (tmp_path / "ngp.json").write_text(json.dumps({**fisheye, "frames": [frame]}))
    photo = read_photos(tmp_path / "ngp.json")[0]
    assert (photo.lens, photo.split) == (Lens("OPENCV_FISHEYE", (0.1, 0, 0, 0)), None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"camera_model": "EQUIRECTANGULAR"}, "frame 0: camera_model 'EQUIRECTANGULAR'"),
        ({"k4": 0.1}, "frame 0: k4 0.1"),
        ({"frames": []}, "holds no cameras|shape"),
        ({"frames": [{"file_path": "a.png"}]}, "'transform_matrix' is missing"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}]}, "frame 0: 'w' is missing"),
        ({"k1": float("nan")}, "finite coefficients"),
        ({"camera_path": [], "frames": None}, "not a transforms.json"),
    ],
)
def test_transforms_that_cannot_be_read(tmp_path, change, said):
    path = write_transforms(tmp_path, truth())
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=said) as caught:
        read_photos(path)
    assert str(path) in str(caught.value)


def test_damaged_colmap_files(tmp_path):
    folder = write_colmap(tmp_path / "sparse", truth(), ".bin")
    images, cameras = (folder / "images.bin").read_bytes(), (folder / "cameras.bin").read_bytes()
    for cut in (4, 60, 75, len(images) - 5):
        (folder / "images.bin").write_bytes(images[:cut])
        with pytest.raises(UserError, match=r"images\.bin: not a file of COLMAP, or a damaged one"):
            read_photos(tmp_path)
    huge = images[: 8 + 64 + 6] + struct.pack("<Q", 1 << 60) + images[8 + 64 + 14 :]
    (folder / "images.bin").write_bytes(huge)
    with pytest.raises(UserError, match="ends within an image"):
        read_photos(tmp_path)
    (folder / "images.bin").write_bytes(images)
    (folder / "cameras.bin").write_bytes(cameras.replace(struct.pack("<Ii", 8, 4), struct.pack("<Ii", 9, 4)))
    with pytest.raises(UserError, match=r"1\.png: camera 8 is not in cameras\.bin"):
        read_photos(tmp_path)
    (folder / "cameras.bin").write_bytes(cameras.replace(struct.pack("<Ii", 8, 4), struct.pack("<Ii", 8, 77)))
    with pytest.raises(UserError, match="camera model number 77"):
        read_photos(tmp_path)
    (folder / "images.bin").unlink()
    with pytest.raises(UserError, match=r"cameras\.bin|images\.bin: cannot be read"):
        read_photos(tmp_path)


def test_where_there_is_no_dataset(tmp_path):
    with pytest.raises(UserError, match="no dataset is there"):
        read_photos(tmp_path)
    (tmp_path / "cameras.json").write_text('[{"id": 0}]')
    with pytest.raises(UserError, match="INRIA's 3DGS"):
        read_photos(tmp_path)
