"""Make fashion.npz: a stratified 10,000 + 2,000 of Fashion-MNIST.

Usage: python make.py FOLDER, where FOLDER holds the four original ``*-ubyte.gz`` files
(Debian's package dataset-fashion-mnist puts them into /usr/share/datasets/fashion-mnist).
"""

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np

SEED = 2019
PER_CLASS = {"train": 1000, "test": 200}
FILES = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes)


def main(folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    arrays = {}
    for split, stem in FILES.items():
        x = read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
        y = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
        chosen = [rng.choice(np.flatnonzero(y == c), PER_CLASS[split], replace=False) for c in range(10)]
        index = np.sort(np.concatenate(chosen))  # in the original's order, so classes are mixed
        arrays |= {f"{split}_x": x[index], f"{split}_y": y[index], f"{split}_index": index.astype(np.int32)}
    target = Path(__file__).with_name("fashion.npz")
    np.savez_compressed(target, **arrays)
    print(hashlib.sha256(target.read_bytes()).hexdigest(), target.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
