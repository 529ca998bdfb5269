"""Pictures a second through decode, resize, crop and normalise: Pillow and NumPy (torchvision's evaluation) beside Graft.

    python Benchmarks/images.py ../shared/models/datasets/sign_language_digits/Dataset [...]

Graft's figures come from `GRAFT_BENCHMARK=1 swift test -c release --filter ImageSpeedTests` on the same machine. The files
are in the page cache in both (the first of three rounds warms it; the best counts); nothing decoded is kept. On a machine that others use, compare the processor times.
"""

import pathlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
from PIL import Image, ImageOps

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def load(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    width, height = image.size
    size = (256, 256 * height // width) if width <= height else (256 * width // height, 256)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)))
    return ((pixels.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)


def run(files, threads):
    begin, used = time.perf_counter(), time.process_time()
    if threads == 1:
        for start in range(0, len(files), 32):
            np.stack([load(file) for file in files[start:start + 32]])
    else:
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(files), 32):
                np.stack(list(pool.map(load, files[start:start + 32])))
    return len(files) / (time.perf_counter() - begin), 1000 * (time.process_time() - used) / len(files)


for folder in sys.argv[1:]:
    files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    for threads in (1, 2):
        rounds = [run(files, threads) for _ in range(3)]
        best, least = max(r[0] for r in rounds), min(r[1] for r in rounds)
        print(f"Pillow {PIL.__version__} {folder} threads {threads}: {best:.0f} pictures/s, {least:.2f} ms of processor each")
