"""Checkpoint files made to deceive: each format's own fields set to what contradicts the file."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from maxwhisper_impl.weights.huggingface import INDEX
from tests.fuzz import damage
from tests.fuzz.case import Case
from tests.parity.broken_checkpoints import Runs
from tests.parity.small_checkpoints import weights_file

HUGE = (0, 1, -1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30, 1.5, 1e308, True, None, "1", [], {})


def value(case: Case, depth: int = 2) -> Any:
    """Anything that JSON can say; of this case alone, which may change it."""
    if depth and case.chance(0.3):
        inner = [value(case, depth - 1) for _ in range(case.random.randint(0, 3))]
        return inner if case.chance(0.5) else {str(i): item for i, item in enumerate(inner)}
    return copy(case.one_of((*HUGE, float("nan"), float("inf"), "", "whisper", "gelu", "\udcff", "x" * 1000)))


def safetensors(case: Case, kind: str, path: Path) -> None:
    file = weights_file(path)
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    for _ in range(case.random.randint(1, 3)):
        header = _forged_header(case, header)
    text = json.dumps(header)
    how = case.one_of(("", "", "", "twice", "spaces", "length", "tail", "deep"))
    case.note(how)
    if how == "twice":
        text = f"{text[:-1]}, {text[1:]}" if case.chance(0.5) else text[:-1] + ', "x": 1, "x": 2}'
    if how == "deep":
        text = '{"a":' * 50_000 + "1" + "}" * 50_000
    raw = text.encode("utf-8", "surrogatepass") + b" " * (case.one_of((1, 10**6)) if how == "spaces" else 0)
    claimed = case.one_of((len(raw) + 1, len(raw) - 1, *damage.EXTREMES)) if how == "length" else len(raw)
    file.write_bytes(struct.pack("<Q", claimed % 2**64) + raw + body + (b"x" * 9 if how == "tail" else b""))


def _forged_header(case: Case, header: dict[str, Any]) -> dict[str, Any]:
    name = case.one_of(sorted(header))
    entry = header[name]
    if not isinstance(entry, dict) or "data_offsets" not in entry or case.chance(0.1):
        return {**header, name: value(case)}
    how = case.one_of(("dtype", "shape", "offsets", "swap", "same", "more", "less", "name"))
    case.note(how, name)
    begin, end = (
        entry["data_offsets"] if isinstance(entry["data_offsets"], list) and len(entry["data_offsets"]) == 2 else (0, 0)
    )
    other = case.one_of(sorted(header))
    changes: dict[str, dict[str, Any]] = {
        "dtype": {**entry, "dtype": case.one_of(("F64", "I64", "BF16", "F8_E4M3", "BOOL", "", 5, None, "F16", "F32"))},
        "shape": {
            **entry,
            "shape": case.one_of(([], [0], [-1, -1], [2**63, 2], [1] * 100, [1.0], "x", [None], [True], [10**30, 0])),
        },
        "offsets": {**entry, "data_offsets": [case.one_of((begin, *HUGE)), case.one_of((end, *HUGE))]},
        "swap": {**entry, "data_offsets": [end, begin]},
        "same": header[other] if isinstance(header[other], dict) else entry,
        "more": {**entry, "extra": 1},
        "less": {key: item for key, item in entry.items() if key != case.one_of(sorted(entry))},
        "name": entry,
    }
    changed = {**header, name: changes[how]}
    if how == "name":
        changed[case.one_of(("", "__metadata__", "ä" * 1000, "model.x\n", name.upper()))] = changed.pop(name)
    return changed


def shards(case: Case, kind: str, path: Path) -> None:
    index = json.loads((path / INDEX).read_text())
    mapped = index["weight_map"]
    names = sorted(mapped)
    for _ in range(case.random.randint(1, 3)):
        name = case.one_of(names)
        how = case.one_of(("lose", "add", "file", "all", "map", "swap"))
        case.note(how, name)
        if how == "lose":
            mapped.pop(name, None)
        elif how == "map":
            index["weight_map"] = value(case)
        else:
            target = case.one_of((*sorted({str(file) for file in mapped.values()}), "../x.safetensors", "/etc/passwd",
                                  "", ".", "x\0y",
                                  "config.json", INDEX, "model.safetensors", 5, None, [], "x" * 300,
                                  "\udcff"))  # fmt: skip
            mapped.update(dict.fromkeys(names if how == "all" else [name if how != "add" else "x"], target))
    (path / INDEX).write_text(json.dumps(index))


def ct2(case: Case, kind: str, path: Path) -> None:
    """Fields of `model.bin` as they come: numbers replaced by extremes, aliases that loop or are missing."""
    file = weights_file(path)
    data = file.read_bytes()
    fields, variables, count_at = _ct2_fields(data)
    aliases_at = variables[-1][1]
    how = case.one_of(("number", "number", "number", "loop", "chain", "twice", "count", "version", "again"))
    case.note(how)
    if how == "again":  # a variable that is there twice
        start, end = case.one_of(variables)
        more = struct.pack("<I", len(variables) + 1)
        data = data[:count_at] + more + data[count_at + 4 : end] + data[start:end] + data[end:]
    elif how in ("number", "version"):
        for at, width in [
            case.one_of(fields[: 3 if how == "version" else None]) for _ in range(case.random.randint(1, 3))
        ]:
            new = case.one_of((*damage.EXTREMES, *range(8))) % 2 ** (8 * width)
            data = data[:at] + new.to_bytes(width, "little") + data[at + width :]
    else:
        pairs = {
            "loop": [("decoder/projection/weight", "b"), ("b", "decoder/projection/weight")],
            "chain": [(f"a{i}", f"a{i + 1}") for i in range(case.one_of((3, 2000)))]
            + [("decoder/projection/weight", "a0")],
            "twice": [("decoder/projection/weight", "decoder/embeddings/weight")] * 2,
            "count": [],
        }[how]
        count = case.one_of(damage.EXTREMES) % 2**32 if how == "count" else len(pairs)
        strings = b"".join(_ct2_string(name) for pair in pairs for name in pair)
        data = data[:aliases_at] + struct.pack("<I", count) + strings
    file.write_bytes(data)


def _ct2_string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def _ct2_fields(data: bytes) -> tuple[list[tuple[int, int]], list[tuple[int, int]], int]:
    """(offset, width) of each number, (start, end) of each variable, and the offset of their count."""
    fields, variables, at = [(0, 4)], list[tuple[int, int]](), 4

    def number(width: int) -> int:
        nonlocal at
        fields.append((at, width))
        at += width
        return int.from_bytes(data[at - width : at], "little")

    def skip(width: int) -> None:
        nonlocal at
        length = number(width)
        at += length

    skip(2)
    number(4)
    count_at = at
    for _ in range(number(4)):
        start = at
        skip(2)
        for _ in range(number(1)):
            number(4)
        number(1)
        skip(4)
        variables.append((start, at))
    number(4)
    return fields, variables, count_at


def npz(case: Case, kind: str, path: Path) -> None:
    """The archive written anew with members whose headers, names or sizes lie."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    out = io.BytesIO()
    chosen = {case.random.randrange(len(members)) for _ in range(case.random.randint(1, 3))}
    pressed = case.one_of((zipfile.ZIP_STORED,) * 8 + (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(out, "w", pressed) as archive:
        for number, (name, content) in enumerate(members):
            archive.writestr(
                zipfile.ZipInfo(name), content if number not in chosen else _forged_npy(case, content), pressed
            )
        if case.chance(0.2):
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                extra = case.one_of((members[0][0], "../x.npy", "x", "dims.x.npy", "a" * 60_000 + ".npy"))
                archive.writestr(extra, case.one_of((content, b"", _hostile(case))))
    data = bytearray(out.getvalue())
    if case.chance(0.3):  # the sizes that the archive itself claims
        at = data.rfind(b"PK\x01\x02", 0, case.random.randrange(len(data)) + 4)
        if at >= 0:
            struct.pack_into("<I", data, at + case.one_of((16, 20, 24, 42)), case.one_of(damage.EXTREMES) % 2**32)
    path.write_bytes(bytes(data))


def _forged_npy(case: Case, content: bytes) -> bytes:
    how = case.one_of(("descr", "shape", "order", "version", "bytes", "pickle", "cut"))
    case.note(how)
    if how == "pickle":
        out = io.BytesIO()
        np.save(out, np.array([Runs(case.made / "ran"), 1], object), allow_pickle=True)
        return out.getvalue()
    if how in ("bytes", "cut"):
        return damage.damaged(case.random, content) if how == "bytes" else content[: len(content) // 2]
    if how == "version":
        return content[:6] + case.one_of((b"\2\0", b"\3\0", b"\1\1", b"\xff\xff")) + content[8:]
    length = struct.unpack("<H", content[8:10])[0]
    header, body = content[10 : 10 + length].decode("latin1"), content[10 + length :]
    shape = "(" + header.partition("(")[2].partition(")")[0] + ")"
    new = {
        "descr": header.replace("<f", case.one_of((">f", "|O", "<c", "<i", "|V", "|S"))),
        "shape": header.replace(shape, case.one_of(("()", "(0,)", "(99999999999999999999,)",
                                                    "(4294967296, 4294967296)", "(-1,)", "(,)",
                                                    "(" + "1, " * 40 + ")", "(" + "9" * 5000 + ",)", "(1_0,)"))),
        "order": header.replace("False", case.one_of(("True", "None", "__import__('os')"))),
    }[how].encode()  # fmt: skip
    return content[:8] + struct.pack("<H", len(new) % 2**16) + new + body


def _hostile(case: Case) -> bytes:
    return pickle.dumps(Runs(case.made / "ran"))


def pickles(case: Case, kind: str, path: Path) -> None:
    """The pickle inside a .pt file replaced, damaged, or made to run something."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    how = case.one_of(("damage", "damage", "damage", "hostile", "raw", "opcodes", "lost", "deep"))
    case.note(how)
    if how == "raw":
        path.write_bytes(case.one_of((_hostile(case), pickle.dumps({"dims": {}}), b"\x80\x02.", b"\x80\xff.")))
        return
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            if name.endswith("data.pkl"):
                content = {
                    "damage": lambda old: damage.damaged(case.random, old),
                    "hostile": lambda old: _hostile(case),
                    "opcodes": lambda old: b"\x80\x02" + case.random.randbytes(case.random.randint(1, 200)) + b".",
                    "deep": lambda old: b"\x80\x02" + b"(" * 10 + b"]" * 5000 + b"a" * 4000 + b".",
                    "lost": lambda old: old,
                }[how](content)  # fmt: skip
            elif how == "lost" and case.chance(0.2):
                continue
            archive.writestr(name, content)


def torch_objects(case: Case, kind: str, path: Path) -> None:
    """What torch can save and openai-whisper's files do not hold."""
    import torch

    content = torch.load(path, weights_only=True)
    state, name = content["model_state_dict"], case.one_of(sorted(content["model_state_dict"]))
    tensor = state[name]
    one = torch.ones(1, dtype=tensor.dtype)
    odd = case.one_of((
        lambda: one.expand(tensor.shape), lambda: one.expand(10**6, 10**6), lambda: tensor.to_sparse(),
        lambda: tensor.to("meta"),
        lambda: torch.nn.Parameter(tensor), lambda: tensor.to(torch.complex64), lambda: tensor.to(torch.bfloat16),
        lambda: tensor.double(), lambda: tensor.t() if tensor.ndim == 2 else tensor[None],
        lambda: tensor.numpy().tolist(),
        lambda: {"a": tensor}, lambda: None, lambda: "text", lambda: tensor[..., :0], lambda: torch.tensor(1.0),
        lambda: torch.full_like(tensor, float("nan")), lambda: tensor.to(torch.float8_e4m3fn), lambda: tensor.bool(),
        lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
        lambda: -tensor.to(torch.complex64).imag,
    ))  # fmt: skip
    where = case.one_of(("tensor", "tensor", "dims", "key", "whole", "heads"))
    case.note(where, name)
    if where == "tensor":
        state[name] = odd()
        if case.chance(0.2):
            state[case.one_of((5, None, "x", ("a", 1)))] = odd()
    elif where == "dims":
        content["dims"][case.one_of([*content["dims"], "x"])] = case.one_of((*HUGE, tensor, float("nan"), b"x", (1,)))
    elif where == "key":
        content[case.one_of(("dims", "model_state_dict"))] = case.one_of((None, [], {}, 5, "x", {5: 1}, {"x": 1}))
    elif where == "heads":
        content["alignment_heads"] = case.one_of(
            (*HUGE, [[0, 0]], [[99, 0]], [[-1, 0]], [[0.5, 0]], [[True, False]], tensor, [[[0]]], [0, 1])
        )
    torch.save(case.one_of((tensor, [content], None, 5)) if where == "whole" else content, path)
