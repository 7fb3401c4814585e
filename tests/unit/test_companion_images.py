import gzip
import hashlib
import io
import pickle
import tarfile
import zlib

import numpy as np
import pandas as pd
import pytest

from faulty_server import FaultyServer
from image_mirror import image_mirror
from spandex.companions import images
from spandex.companions.images import SETS, load
from spandex.data.catalog import Source
from spandex.errors import SpandexError

TRAIN, TEST = 30, 20  # images in the tiny originals; a multiple of five, the batches of CIFAR-10


def idx(values: np.ndarray) -> bytes:
    sizes = np.array(values.shape, ">u4").tobytes()
    return gzip.compress(bytes((0, 0, 8, values.ndim)) + sizes + values.astype(np.uint8).tobytes())


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def records(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return b"".join(
        bytes([label]) + image.astype(np.uint8).tobytes() for label, image in zip(labels, pixels, strict=True)
    )


@pytest.fixture(scope="module")
def originals():
    """Pixels and labels by set and split, and the files that publish them by name in the catalogue."""
    rng = np.random.default_rng(1)
    content = {
        name: {
            split: (rng.integers(0, 256, (count, *shape)), np.arange(count) % 10)
            for split, count in (("train", TRAIN), ("test", TEST))
        }
        for name, shape in SETS.items()
    }
    files = {}
    for split, (pixels, labels) in content["mnist"].items():
        files |= {f"mnist-{split}-images": idx(pixels[:, 0]), f"mnist-{split}-labels": idx(labels)}
    pixels, labels = content["cifar10"]["train"]
    batches = zip(np.split(pixels, 5), np.split(labels, 5), strict=True)
    members = {f"data_batch_{n}.bin": records(*batch) for n, batch in enumerate(batches, start=1)}
    members |= {"test_batch.bin": records(*content["cifar10"]["test"]), "batches.meta.txt": b"airplane\n"}
    files["cifar10-binary"] = archive(members)
    return content, files


@pytest.fixture
def published(server, originals, monkeypatch):
    """The tiny originals on a server in place of the catalogue's; the files can be exchanged."""
    files = dict(originals[1])

    def source(name: str) -> Source:
        content = server.files[name] = files[name]
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        address = f"{server.address}/{name}"
        rest = {"role": "-", "licence": "-", "citation": "-"}
        return Source(name=name, address=address, file=f"a/{name}", size=len(content), checksums=(checksum,), **rest)

    monkeypatch.setattr(images, "source", source)
    return files


def in_order(pixels, labels):
    """Images in an order that does not depend on where they come from."""
    return sorted((int(label), image.astype(np.uint8).tobytes()) for image, label in zip(pixels, labels, strict=True))


@pytest.mark.parametrize("name", SETS)
def test_originals_are_fetched_and_read_as_published(published, originals, server, tmp_path, name):
    for _ in range(2):
        found = load(name, None, 10**6, 10**6, seed=0, directory=tmp_path)
    assert found.train.dtype == found.test.dtype == np.uint8
    assert found.train_labels.dtype == np.int64
    assert in_order(found.train, found.train_labels) == in_order(*originals[0][name]["train"])
    assert in_order(found.test, found.test_labels) == in_order(*originals[0][name]["test"])
    assert len(server.requests) == (4 if name == "mnist" else 1)


@pytest.mark.parametrize("name", SETS)
def test_mirror_is_read_in_place_from_a_folder_and_fetched_from_an_address(tmp_path, name):
    folder = image_mirror(tmp_path / "mirror", per_class=2)
    here = load(name, str(folder), 20, 20, seed=0, directory=tmp_path / "one")
    served = {f"a/images/{path.name}": path.read_bytes() for path in (folder / "images").iterdir()}
    with FaultyServer(served) as mirror:
        for _ in range(2):
            there = load(name, f"{mirror.address}/a/", 20, 20, seed=0, directory=tmp_path / "two")
        assert len(mirror.requests) == 2
    assert not list((tmp_path / "one").rglob("*.parquet"))
    assert here.train.shape == (20, *SETS[name])
    assert all(np.array_equal(value, vars(there)[key]) for key, value in vars(here).items())


def test_images_of_one_address_are_not_used_for_another(tmp_path):
    for count in (2, 3):
        folder = image_mirror(tmp_path / f"mirror {count}", per_class=count)
        with FaultyServer(
            {f"images/{path.name}": path.read_bytes() for path in (folder / "images").iterdir()}
        ) as there:
            found = load("mnist", there.address, 10**6, 10**6, seed=0, directory=tmp_path / "here")
        assert len(found.train) == 10 * count


def test_pixels_of_a_mirror_are_those_of_its_pictures_channels_first(tmp_path):
    folder = image_mirror(tmp_path, per_class=1)
    table = pd.read_parquet(folder / "images" / "cifar10_test.parquet")
    found = load("cifar10", str(folder), 10, 10, seed=0)
    for label, data in zip(table["label"], table["image"], strict=True):
        expected = np.asarray(images.Image.open(io.BytesIO(data)))
        (index,) = np.flatnonzero(found.test_labels == label)
        assert np.array_equal(np.moveaxis(found.test[index], 0, -1), expected)


@pytest.mark.parametrize("where", ["folder", "address"])
def test_what_a_mirror_lacks_comes_from_the_originals(published, server, tmp_path, where):
    (tmp_path / "mirror").mkdir()
    with FaultyServer() as empty:
        mirror = str(tmp_path / "mirror") if where == "folder" else empty.address
        found = load("mnist", mirror, TRAIN, TEST, seed=0, directory=tmp_path / "here")
    assert len(found.train) == TRAIN
    assert len(server.requests) == 4


def test_every_class_is_drawn_equally_often_and_the_test_images_do_not_depend_on_the_seed(tmp_path):
    folder = str(image_mirror(tmp_path))
    first, same, other = (load("mnist", folder, 35, 20, seed) for seed in (1, 1, 2))
    assert np.bincount(first.train_labels).min() == 3 and np.bincount(first.train_labels).max() == 4
    assert (np.bincount(first.test_labels) == 2).all()
    assert np.array_equal(first.train, same.train)
    assert not np.array_equal(first.train, other.train)
    assert np.array_equal(first.test, other.test) and np.array_equal(first.test_labels, other.test_labels)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("mnist-train-images", cut, "mnist-train-images: no idx file of 3 dimensions"),
        ("mnist-test-labels", lambda _: idx(np.zeros((TEST, 2))), "mnist-test-labels: no idx file .* 00000802"),
        ("mnist-train-labels", lambda _: idx(np.zeros(TRAIN - 1)), r"\(30, 28, 28\) for 29 labels"),
        ("mnist-train-labels", lambda _: idx(np.full(TRAIN, 10)), "mnist-train-labels: label 10"),
        ("mnist-test-images", lambda _: idx(np.zeros((TEST, 27, 28))), r"\(20, 27, 28\) for 20 labels"),
        ("mnist-test-images", lambda content: gzip.compress(gzip.decompress(content)[:-1]), "test-images: no idx file"),
        ("cifar10-binary", cut, "cifar10-binary: not the binary version"),
        ("cifar10-binary", lambda _: archive({"test_batch.bin": bytes(3073)}), "not the binary .*data_batch_1.bin"),
        ("cifar10-binary", lambda _: archive({"data_batch_1": pickle.dumps({})}), "cifar10-binary: not the binary"),
    ],
)
def test_damaged_original_is_an_error_naming_the_file(published, tmp_path, name, spoil, message):
    published[name] = spoil(published[name])
    with pytest.raises(SpandexError, match=message):
        load(name.partition("-")[0], None, 10, 10, seed=0, directory=tmp_path)


def relabelled(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=[None, *table["label"][1:]])


def png_of_size(side: int) -> bytes:
    """A PNG whose header says so; there are no pixels."""
    header = b"IHDR" + np.array([side, side], ">u4").tobytes() + bytes((8, 2, 0, 0, 0))
    chunks = bytes((0, 0, 0, 13)) + header + zlib.crc32(header).to_bytes(4) + bytes(4) + b"IDAT" + bytes(4)
    return b"\x89PNG\r\n\x1a\n" + chunks


def with_picture(picture):
    return lambda table: table.assign(image=[picture] * len(table))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "cifar10_train.parquet: no parquet file with the columns image and label"),
        (lambda table: table.rename(columns={"label": "class"}), "cifar10_train.parquet: no parquet file"),
        (relabelled, "cifar10_train.parquet: no parquet file"),
        (lambda table: table.assign(label=-1), "cifar10_train.parquet: label -1"),
        (lambda table: table.assign(label=3.7), r"cifar10_train.parquet: .* \(labels are not whole numbers\)"),
        (lambda table: table.assign(label=2.0**70), r"cifar10_train.parquet: .* \(labels are not whole numbers\)"),
        (lambda table: table[:0], "cifar10_train.parquet: no images"),
        (with_picture(b"GIF89a"), r"cifar10_train.parquet: image \d+: no PNG or JPEG"),
        (with_picture(png_of_size(60_000)), r"cifar10_train.parquet: image \d+: no PNG or JPEG .*3600000000 pixels"),
        (with_picture(None), r"cifar10_train.parquet: image \d+: no PNG or JPEG"),
    ],
)
def test_damaged_parquet_is_an_error_naming_the_file(tmp_path, change, message):
    path = image_mirror(tmp_path, per_class=1) / "images" / "cifar10_train.parquet"
    if change is None:
        path.write_bytes(b"PAR1 and no more")
    else:
        change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(SpandexError, match=message):
        load("cifar10", str(tmp_path), 10, 10, seed=0)


def test_picture_of_another_set_is_refused(tmp_path):
    folder = image_mirror(tmp_path, per_class=1) / "images"
    (folder / "mnist_test.parquet").replace(folder / "cifar10_test.parquet")
    with pytest.raises(SpandexError, match=r"cifar10_test.parquet: image \d+: L of 28 x 28, not RGB of 32 x 32"):
        load("cifar10", str(tmp_path), 10, 10, seed=0)


def test_unknown_set_is_refused(tmp_path):
    with pytest.raises(SpandexError, match="'svhn', there are mnist, cifar10"):
        load("svhn", str(tmp_path), 10, 10, seed=0)


def test_real_mirror_has_both_sets(mirror):
    for name, shape in SETS.items():
        found = load(name, str(mirror), 20, 10, seed=0)
        assert found.train.shape == (20, *shape)
        assert sorted(found.test_labels) == list(range(10))
