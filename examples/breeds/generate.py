"""Draws the pictures of the breeds example: faces of cats and dogs, 20 by 20 pixels of grey, and their breeds.

A breed is a distribution of how an animal looks (BREEDS: mean and spread of each trait), and breeds overlap: a tabby with
faint stripes looks like a russian blue. So nobody is always right; `best` is what one who could read the traits off a
picture without error would say, which is more than pixels tell: position, size, tilt, background, light and noise are the
same for all breeds and get in the way.

Neither gate nor experts see any of this; they see pixels.

    python3 generate.py animals.png          six of each breed
"""

import struct
import sys
import zlib

import numpy as np

SIDE = 20
TRAITS = ("coat", "stripes", "spots", "chin", "points", "ears")
# Trait -> (mean, spread), in the order of TRAITS. The first four are cats.
BREEDS = {
    "tabby": ((0.50, 0.09), (0.21, 0.07), (0.02, 0.03), (0.08, 0.06), (0.03, 0.04), (0.34, 0.05)),
    "tuxedo": ((0.24, 0.09), (0.03, 0.03), (0.02, 0.03), (0.40, 0.10), (0.02, 0.04), (0.33, 0.05)),
    "siamese": ((0.68, 0.08), (0.03, 0.03), (0.02, 0.03), (0.02, 0.05), (0.32, 0.10), (0.40, 0.06)),
    "russian": ((0.44, 0.09), (0.05, 0.05), (0.02, 0.03), (0.03, 0.05), (0.04, 0.04), (0.36, 0.05)),
    "spaniel": ((0.46, 0.10), (0.02, 0.03), (0.05, 0.05), (0.12, 0.08), (0.22, 0.09), (0.56, 0.08)),
    "terrier": ((0.42, 0.11), (0.14, 0.06), (0.06, 0.05), (0.06, 0.06), (0.04, 0.05), (0.26, 0.06)),
    "dalmatian": ((0.76, 0.07), (0.02, 0.03), (0.34, 0.10), (0.03, 0.05), (0.06, 0.06), (0.40, 0.07)),
    "retriever": ((0.62, 0.09), (0.03, 0.04), (0.03, 0.04), (0.06, 0.06), (0.06, 0.05), (0.42, 0.07)),
}
NAMES = list(BREEDS)
CATS = 4
MEANS = np.array([[mean for mean, _ in traits] for traits in BREEDS.values()])
SPREADS = np.array([[spread for _, spread in traits] for traits in BREEDS.values()])


def inside(distance, sharpness=9.0):
    """1 where `distance` is below 0, 0 above, soft between."""
    return 1 / (1 + np.exp(np.clip(distance * sharpness, -30, 30)))


def ellipse(u, v, x, y, width, height):
    return inside(((u - x) / width) ** 2 + ((v - y) / height) ** 2 - 1, 4.0)


def best_of(traits, cat):
    """The likeliest breed of that kind, by the traits themselves."""
    z = (traits[:, None] - MEANS) / SPREADS
    log_likelihood = -0.5 * (z**2).sum(axis=2) - np.log(SPREADS).sum(axis=1)
    log_likelihood[cat, CATS:] = -np.inf
    log_likelihood[~cat, :CATS] = -np.inf
    return log_likelihood.argmax(axis=1)


def pictures(seed, count):
    """(uint8[count, SIDE, SIDE], breeds, the best guess)"""
    random = np.random.default_rng(seed)
    breeds = random.integers(0, len(NAMES), count)
    traits = MEANS[breeds] + SPREADS[breeds] * random.standard_normal((count, len(TRAITS)))
    cat = breeds < CATS
    parts = [draw(random, traits[at : at + 500], cat[at : at + 500]) for at in range(0, count, 500)]
    return np.concatenate(parts), breeds, best_of(traits, cat)


def draw(random, traits, cat):
    count = len(traits)

    def between(low, high):
        return random.uniform(low, high, (count, 1, 1))

    axis = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    x, y = axis[None, None, :] - between(-0.1, 0.1), axis[None, :, None] - 0.05 - between(-0.1, 0.1)
    tilt, size = between(-0.2, 0.2), between(0.85, 1.12)
    u = (x * np.cos(tilt) + y * np.sin(tilt)) / size
    v = (y * np.cos(tilt) - x * np.sin(tilt)) / size
    coat, stripes, spots, chin, points, ears = (traits[:, i, None, None] for i in range(len(TRAITS)))
    is_cat = cat[:, None, None]

    face = ellipse(u, v, 0, 0.05, np.where(is_cat, 0.6, 0.5), np.where(is_cat, 0.5, 0.62))
    ear = np.zeros_like(face)
    for side in (-1, 1):
        # A cat's stand: triangles on top. A dog's hang beside the face.
        top, base = -0.42 - ears, -0.25
        half = 0.3 * (v - top) / (base - top)
        triangle = inside(np.maximum(np.abs(u - side * 0.38) - half, np.maximum(v - base, top - v)), 16.0)
        flap = ellipse(u, v, side * 0.62, -0.25 + ears * 0.7, 0.2, ears)
        ear = np.maximum(ear, np.where(is_cat, triangle, flap))
    muzzle = ellipse(u, v, 0, 0.32, np.where(is_cat, 0.2, 0.34), np.where(is_cat, 0.14, 0.26))

    fur = coat + stripes * np.sin(between(11, 14) * (u + between(-0.15, 0.15) * v) + between(0, 6.3))
    for _ in range(7):
        fur = fur - np.maximum(spots, 0) * np.exp(-((u - between(-0.5, 0.5)) ** 2 + (v - between(-0.45, 0.5)) ** 2) / 0.012)
    fur = fur + chin * ellipse(u, v, 0, 0.5, 0.3, 0.28)
    fur = fur - points * np.maximum(ear, muzzle)
    fur = fur + np.where(is_cat, 0.0, 0.12) * muzzle
    mask = np.maximum(face, ear)
    background = between(0.1, 0.9) + between(-0.15, 0.15) * x + between(-0.15, 0.15) * y
    picture = background * (1 - mask) + fur * mask
    for side in (-1, 1):
        picture = picture - 0.35 * np.exp(-((u - side * 0.22) ** 2 + (v + 0.08) ** 2) / 0.008)
    nose = np.where(is_cat, 0.005, 0.022)
    picture = picture - 0.35 * np.exp(-(u**2 + (v - 0.24) ** 2) / nose)
    picture = picture * between(0.85, 1.15) + random.normal(0, 0.045, picture.shape)
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


def write_sheet(path, each=6, scale=4):
    """A breed a column, as PNG."""
    images, breeds, _ = pictures(22, 400)
    columns = [np.concatenate(images[breeds == breed][:each]) for breed in range(len(NAMES))]
    sheet = np.concatenate(columns, axis=1).repeat(scale, axis=0).repeat(scale, axis=1)
    lines = b"".join(b"\0" + line.tobytes() for line in sheet)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", sheet.shape[1], sheet.shape[0], 8, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b""))


if __name__ == "__main__":
    write_sheet(sys.argv[1] if len(sys.argv) > 1 else "animals.png")
