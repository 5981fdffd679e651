"""read_point.py FILE: the elements of a point, written by `gradus gradcheck --dump FILE`, that are furthest off."""
import json, math, struct, sys

with open(sys.argv[1], "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = file.read()


def values(name):
    begin, end = header[name]["data_offsets"]
    code, size = {"F64": ("d", 8), "F32": ("f", 4), "I64": ("q", 8)}[header[name]["dtype"]]
    return struct.unpack(f"<{(end - begin) // size}{code}", data[begin:end])


print(header["__metadata__"]["op"], header["__metadata__"]["verdict"])
for name in [key.removeprefix("expected.") for key in header if key.startswith("expected.")]:
    yours, expected = values(f"gradient.{name}"), values(f"expected.{name}")
    judged = [(abs(y - e), i) for i, (y, e) in enumerate(zip(yours, expected)) if not math.isnan(e)]
    off, element = max(judged, default=(0, 0))
    print(f"{name}: {len(judged)} elements judged, the worst is {element}: {yours[element]:.6g}, off by {off:.1e}")
