"""Damaged files: whatever is cut off or flipped, the command ends in time, by itself, and leaves no half-written output.

A seeded sample by default; GRAFT_DAMAGE=all takes every truncation length and every bit of the files up to 6 kB (hours).
"""

import os
import random
import re
import subprocess
import unittest

from support import FIXTURES, GRAFT, each, figure, folder

ALL = os.environ.get("GRAFT_DAMAGE") == "all"
FILES = [
    *(FIXTURES / "onnx" / f"{name}.onnx" for name in (
        "everything", "unknown_fields", "types_raw", "types_typed", "if", "loop", "scan", "functions", "sparse", "external",
        "noncanonical", "quantised", "type_protos")),
    FIXTURES / "pytorch" / "two_heads.onnx",
    FIXTURES / "tf2onnx" / "separable_multiplier.onnx",
    *(FIXTURES / "keras" / f"{name}.h5" for name in ("conv_plain", "sequential", "nested_model", "compiled_adam", "channels_first")),
    *(FIXTURES / "keras2" / f"{name}.h5" for name in ("conv_plain", "shared_layer", "separable_plain")),
]  # fmt: skip
SAMPLE = 16


def cuts(size, draw):
    if ALL and size <= 6000:
        return range(size)
    edges = [0, 1, 2, 7, 8, 9, size // 2, size - 8, size - 1]
    return sorted({max(0, c) for c in edges} | {draw.randrange(size) for _ in range(SAMPLE)})


def flips(size, draw):
    if ALL and size <= 6000:
        return [(k, 1 << b) for k in range(size) for b in range(8)]
    # Where the structure is: half of the flips in the first part of the file.
    near = [(draw.randrange(min(size, 512)), 1 << draw.randrange(8)) for _ in range(SAMPLE)]
    return near + [(draw.randrange(size), draw.choice([1, 0x80, 0xFF])) for _ in range(SAMPLE)]


@each("file", FILES, name=lambda p: f"{p.parent.name}_{p.stem}")
class Damage(unittest.TestCase):
    def damaged(self, data, what, suffix, place, companions):
        source = place / f"damaged{suffix}"
        source.write_bytes(data)
        result = place / f"result{suffix}"
        command = [GRAFT, "convert", str(source), str(result), "--no-verify"]
        done = subprocess.run(command, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
        message = done.stderr.decode("utf-8", "replace")
        self.assertIn(done.returncode, (0, 65), f"{what}: {message[-500:]}")
        left = {p.name for p in place.iterdir()} - {source.name, result.name} - companions
        if done.returncode == 65:
            self.assertIn("damaged", message, f"{what}: the file is not named")
            self.assertFalse(result.exists(), f"{what}: there is output")
            # Data files beside a refused result would be half-written output.
            self.assertFalse([n for n in left if re.match(r"result|\.", n)], what)
        for name in left | {result.name}:
            (place / name).unlink(missing_ok=True)
        return done.returncode

    def check_file(self, path):
        original = path.read_bytes()
        draw = random.Random(path.name)
        refused = 0
        with folder() as place:
            companions = set()
            if path.stem == "external":
                (place / "external.data").write_bytes((path.parent / "external.data").read_bytes())
                (place / "external-parts").mkdir()
                bias = (path.parent / "external-parts" / "bias.bin").read_bytes()
                (place / "external-parts" / "bias.bin").write_bytes(bias)
                companions = {"external.data", "external-parts"}
            for length in cuts(len(original), draw):
                refused += self.damaged(original[:length], f"first {length} bytes", path.suffix, place, companions) == 65
            for position, bits in flips(len(original), draw):
                data = bytearray(original)
                data[position] ^= bits
                refused += self.damaged(bytes(data), f"byte {position} ^ {bits:#x}", path.suffix, place, companions) == 65
            junk = [b"", b"\0" * 5000, bytes(draw.randrange(256) for _ in range(3000)), b"\x89HDF\r\n\x1a\n" + b"\xff" * 600,
                    b"\x0a" * 4000, b"\x3a\xff\xff\xff\xff\x0f", original * 2]  # fmt: skip
            for number, data in enumerate(junk):
                self.damaged(data, f"junk {number}", path.suffix, place, companions)
        figure("damaged files: runs that ended by a signal or hung", 0.0, path.name)
        self.assertGreater(refused, 0)


if __name__ == "__main__":
    unittest.main()
