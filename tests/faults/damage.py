"""Damage every kind of file that `ff` reads, and run the commands that read it.

A command may refuse the file in one line, or read it if the damage does not matter. It never shows a traceback, hangs,
writes elsewhere, or trains other bits than from sound files.
"""

from __future__ import annotations

import gzip
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from .campaign import Case, Check, Problems
from .warm import Argument, ff
from .world import Bits, World, bits, copy, database, differences, snapshot, states, verdict, written_outside

PAGE = 4096
READS: tuple[tuple[Argument, ...], ...] = (
    ("list-runs", "--all"), ("list-runs", "--json"), ("report",), ("report", "--json"), ("export",),
    ("export", "--json", "--all"), ("db", "check"), ("show", "RUN"), ("compare", "neg=label", "neg=masks"),
    ("db", "backup", "out.db"), ("prune",), ("plot", "trace", "RUN", "--output", "out.png"),
    ("delete", "RUN", "--yes"),
)  # fmt: skip

Damage = Callable[[random.Random, bytes], bytes]


def cases(world: World, folder: Path, seed: int, scale: float) -> Iterator[Case]:
    """Yield the cases of all kinds of files."""
    expected = {}
    for name, start, arguments in (
        ("new", world.stored, world.train(seed=5)),
        ("longer", world.stored, world.train("--keep-state", "always", epochs=5)),
    ):
        done = ff(*arguments, folder=copy(start, folder / name))
        assert done.code == 0, done
        expected[name] = bits(folder / name)
    stored = bits(world.stored)
    toml = ff(*_with_run(("show", "RUN", "--toml"), world.stored), folder=world.stored).out
    assert toml
    kinds: list[tuple[str, int, Check]] = [
        ("database", 130, partial(_database, world)),
        ("edited-row", 80, partial(_edited_row, world)),
        ("state", 55, partial(_state, world, expected["longer"])),
        ("weights", 25, partial(_weights, world)),
        ("prepared", 40, partial(_prepared, world, expected["new"])),
        ("npz", 70, partial(_npz, world)),
        ("idx", 50, partial(_idx, world)),
        ("toml", 70, partial(_toml, world, toml)),
        ("merge", 60, partial(_merge, world, stored)),
        ("label", 15, partial(_label, world)),
        ("restored", 8, partial(_restored, world, expected["longer"])),
    ]
    if world.killed:
        kinds.append(("log", 50, partial(_log, world, expected["new"])))
    for kind, count, check in kinds:
        for number in range(max(1, round(count * scale))):
            yield Case(f"damaged: {kind.replace('-', ' ')}", f"damage/{kind}/{number}", check)


def _database(world: World, rng: random.Random, folder: Path) -> Problems:
    copy(world.stored, folder)
    _damage(rng, database(folder))
    yield from _reads(world, rng, folder, count=2)
    if rng.random() < 0.3:
        yield from verdict(ff(*world.train(seed=5), folder=folder))


def _edited_row(world: World, rng: random.Random, folder: Path) -> Problems:
    """Set a value of one run to what `ff` never writes: the other runs are still listed."""
    copy(world.stored, folder)
    with closing(sqlite3.connect(database(folder), isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        table = rng.choice(("run", "run", "run", "epoch", "trace", "alembic_version"))
        column = rng.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
        value = rng.choice(
            ("x", "", "{", "[[[[", -1, 10**18, 1e308, float("inf"), None, b"\xff\0", "../escaped", "\x1b[31m\n", "0001")
        )
        with suppress(sqlite3.Error):
            row = f"(SELECT rowid FROM {table} LIMIT 1)" if table != "alembic_version" else "rowid"
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = {row}", (value,))
    before = snapshot(folder)
    listed = ff("list-runs", "--all", "--json", folder=folder)
    yield from (f"{table}.{column} = {value!r}: {problem}" for problem in verdict(listed))
    if table == "run" and listed.code:
        yield f"{table}.{column} = {value!r}: the other runs are not listed: {listed.err.strip()}"
    for problem in _reads(world, rng, folder, count=2):
        yield f"{table}.{column} = {value!r}: {problem}"
    yield from written_outside(folder, before)


def _log(world: World, expected: Bits, rng: random.Random, folder: Path) -> Problems:
    """Damage or lose the write-ahead log of a killed run; its state may then be ahead of the database."""
    assert world.killed
    copy(world.killed, folder)
    log = next((folder / "db").glob("*-wal"))
    if rng.random() < 0.25:
        log.unlink()
    else:
        _damage(rng, log)
    yield from _reads(world, rng, folder, count=1, change=False)
    yield from _trains_alike(world.train(seed=5), expected, folder)


def _restored(world: World, expected: Bits, rng: random.Random, folder: Path) -> Problems:
    """Restore an older database beside newer states, and train on."""
    copy(world.stored, folder)
    older = database(folder).read_bytes()
    yield from verdict(ff(*world.train("--keep-state", "always", epochs=4), folder=folder), (0,))
    database(folder).write_bytes(older)
    if rng.random() < 0.5:
        yield from _reads(world, rng, folder, count=1, change=False)
    yield from _trains_alike(world.train("--keep-state", "always", epochs=5), expected, folder)


def _state(world: World, expected: Bits, rng: random.Random, folder: Path) -> Problems:
    """Damage a saved state, or swap it with another, and ask for more epochs."""
    copy(world.stored, folder)
    chosen, *others = rng.sample(states(folder, ".state.safetensors"), 2)
    if rng.random() < 0.15:
        shutil.copy(others[0], chosen)
    else:
        _damage(rng, chosen)
    yield from _trains_alike(world.train("--keep-state", "always", epochs=5), expected, folder, but=world.train())


def _weights(world: World, rng: random.Random, folder: Path) -> Problems:
    copy(world.stored, folder)
    _damage(rng, rng.choice(states(folder, ".weights.safetensors")))
    for arguments in rng.sample([("db", "check"), ("list-runs",), world.train(), ("prune",)], 2):
        yield from verdict(ff(*arguments, folder=folder))
    target = copy(world.empty, folder / "tmp" / "target")
    yield from verdict(ff(*world.train(seed=3), folder=target), (0,))
    yield from verdict(ff("db", "merge", database(folder), folder=target))


def _prepared(world: World, expected: Bits, rng: random.Random, folder: Path) -> Problems:
    copy(world.stored, folder)
    _damage(rng, next((folder / "data" / "prepared").glob("*.safetensors")))
    yield from verdict(ff("data", "list", folder=folder))
    yield from _trains_alike(world.train(seed=5), expected, folder)


def _npz(world: World, rng: random.Random, folder: Path) -> Problems:
    copy(world.empty, folder)
    own = Path(shutil.copy(world.npz, folder / "mine.npz"))
    arguments = ("train", "--dataset", own, "--hidden", "8", "--batch-size", "20", "--epochs", "1", "--quiet")
    if rng.random() < 0.3:
        yield from verdict(ff(*arguments, "--dry-run", folder=folder), (0,))
    _damage(rng, own)
    before = snapshot(folder)
    yield from verdict(ff(*arguments, folder=folder))
    yield from written_outside(folder, before)


def _idx(world: World, rng: random.Random, folder: Path) -> Problems:
    """Damage a file of a named dataset: it is refused, or has no other content than the published one."""
    copy(world.empty, folder)
    shutil.copytree(world.idx, folder / "idx")
    file = rng.choice(sorted((folder / "idx").iterdir()))
    if rng.random() < 0.5:
        packed = file.with_name(f"{file.name}.gz")
        packed.write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
        file = packed
    _damage(rng, file)
    done, sound = (ff("data", "import", "tiny", place, folder=folder) for place in (folder / "idx", world.idx))
    yield from verdict(done, (0, 2))
    yield from verdict(sound, (0,))
    if done.code == 0 and done.out != sound.out:
        yield f"a damaged file was imported: {done.out}"


def _toml(world: World, sound: str, rng: random.Random, folder: Path) -> Problems:
    copy(world.stored, folder)
    grid = rng.random() < 0.5
    text = f'dataset = ["{world.npz}"]\nhidden = [[8, 8]]\nseeds = [0, 1]\nepochs = [3]\n' if grid else sound
    file = folder / "file.toml"
    file.write_bytes(
        rng.choice(
            (
                lambda: _mutated(rng, text.encode()),
                lambda: f"{text}\nlr = {'9' * rng.choice((20, 400, 5000))}\n".encode(),
                lambda: f"{text}\nlr = {'[' * rng.choice((50, 3000))}\n".encode(),
                lambda: f"{text}\nseed{'.a' * rng.choice((50, 3000))} = 1\n".encode(),
                lambda: f"{text}\n{rng.choice(('lr', 'epochs', 'seed', 'note'))} = {rng.choice(VALUES)}\n".encode(),
                lambda: "".join(f"{line.partition('=')[0]} = {rng.choice(VALUES)}\n" for line in text.splitlines()
                                if rng.random() < 0.3 and "=" in line).encode(),
                lambda: text.encode("utf-16"),
            )
        )()
    )  # fmt: skip
    arguments = ("sweep", "--grid", file, "--dry-run") if grid else ("train", "--config", file, "--dry-run")
    yield from verdict(ff(*arguments, folder=folder))


VALUES = (
    "nan", "-inf", "-1", "0", "1e400", "true", '""', '"\\u0000"', "[]", "[[]]", "{}", "1979-05-27", "99999999999999999",
    '"auto"', '["label", 1]', '"../../x.npz"',
)  # fmt: skip


def _merge(world: World, expected: Bits, rng: random.Random, folder: Path) -> Problems:
    """Merge a damaged database: nothing of the own runs is lost, and nothing is written elsewhere."""
    copy(world.stored, folder)
    source = copy(world.other, folder / "source")
    if rng.random() < 0.5:
        _damage(rng, rng.choice([database(source), *states(source, ".safetensors")]))
    else:
        with closing(sqlite3.connect(database(source), isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            column = rng.choice(("id", "id", "id", "name", "tags", "config", "started", "key", "epochs_done", "token"))
            value = rng.choice(("../escaped", "/tmp/escaped", "x" * 32, "", "A" * 32, "\x1b[2J", -5, b"\0"))
            with suppress(sqlite3.Error):
                old = connection.execute("SELECT id FROM run ORDER BY id LIMIT 1").fetchone()[0]
                connection.execute(f"UPDATE run SET {column} = ? WHERE id = ?", (value, old))
                if column == "id":
                    connection.execute("UPDATE epoch SET run_id = ? WHERE run_id = ?", (value, old))
                    for file in states(source, ".safetensors"):
                        if file.name.startswith(old):
                            (file.parent / (str(value) + file.name[32:])).write_bytes(file.read_bytes())
    before = snapshot(folder)
    done = ff("db", "merge", database(source), folder=folder)
    yield from verdict(done)
    yield from verdict(ff("db", "check", folder=folder), (0,))
    found = bits(folder)
    for key, (_, rows, _) in expected.items():
        if key not in found or found[key][1][: len(rows)] != rows:
            yield f"run {key[:7]} lost something"
    yield from written_outside(folder, before)


LABELS: tuple[Argument, ...] = (
    b"\xff\xfe", "\x1b[31mred\x1b[0m", "two\nlines", "=1+1", "@cmd", "\r", "\u202eabc", "x" * 100_000, "\ud800", "\0x",
    "| a | b |", "\\input{x}", "<script>", "\x9b31m", "\t-1",
)  # fmt: skip


def _label(world: World, rng: random.Random, folder: Path) -> Problems:
    """Give a hostile label: it is refused in one line, or shown without control characters."""
    copy(world.stored, folder)
    option, label = rng.choice(("--name", "--tag", "--note", "--dataset")), rng.choice(LABELS[:-1])
    if isinstance(label, str):
        label = label.replace("\0", "").encode(errors="surrogatepass")
    yield from verdict(ff(*world.train(option, label), folder=folder))
    for arguments in (("list-runs",), ("show", "RUN"), ("export",), ("list-runs", "--json"), ("report",)):
        done = ff(*_with_run(arguments, folder), folder=folder)
        yield from verdict(done, (0,))
        if bad := sorted({c for c in done.out + done.err if (c < " " and c != "\n") or "\x7f" <= c < "\xa0"} - {"\r"}):
            yield f"{option} {label!r:.30}: `ff {arguments[0]}` prints {bad}"
        if arguments == ("export",) and any(f",{c}" in done.out for c in ("=1", "@cmd")):
            yield f"{option} {label!r}: a formula is exported"


def _reads(world: World, rng: random.Random, folder: Path, *, count: int, change: bool = True) -> Problems:
    """Run some commands that read the database."""
    choices = [c for c in READS if change or c[0] not in ("prune", "delete")]
    for arguments in rng.sample(choices, count):
        yield from verdict(ff(*_with_run(arguments, folder), folder=folder))


def _with_run(arguments: tuple[Argument, ...], folder: Path) -> tuple[Argument, ...]:
    ids = [path.name[:32] for path in states(folder, ".weights.safetensors")] or ["0" * 32]
    return tuple(ids[0] if argument == "RUN" else argument for argument in arguments)


def _trains_alike(
    arguments: tuple[Argument, ...], expected: Bits, folder: Path, *, but: tuple[Argument, ...] = ()
) -> Problems:
    """Train: the same bits as from sound files. A second attempt is allowed after one line."""
    done = ff(*arguments, folder=folder)
    yield from verdict(done)
    if done.code:
        done = ff(*arguments, folder=folder)
        yield from verdict(done)
    if done.code == 0:
        yield from differences(bits(folder), expected)
        yield from verdict(ff("db", "check", folder=folder), (0,))


def _damage(rng: random.Random, path: Path) -> None:
    path.write_bytes(_mutated(rng, path.read_bytes()))


def _mutated(rng: random.Random, content: bytes) -> bytes:
    return rng.choice((_flip, _flip, _cut, _zero, _swap, _header, _noise, _longer))(rng, content)


def _flip(rng: random.Random, content: bytes) -> bytes:
    """Flip one to eight bits, half the time near the beginning, where headers are."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)) if changed else ():
        changed[rng.randrange(min(len(changed), rng.choice((200, len(changed)))))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.choice((0, 1, 100, rng.randrange(len(content) + 1)))]


def _block(rng: random.Random, content: bytes) -> tuple[int, int]:
    """Return the limits of a page, or of a part of a short file."""
    size = min(PAGE, max(1, len(content) // 4))
    start = rng.randrange(max(1, len(content) // size)) * size
    return start, start + size


def _zero(rng: random.Random, content: bytes) -> bytes:
    start, stop = _block(rng, content)
    return content[:start] + bytes(len(content[start:stop])) + content[stop:]


def _noise(rng: random.Random, content: bytes) -> bytes:
    start, stop = _block(rng, content)
    return content[:start] + rng.randbytes(len(content[start:stop])) + content[stop:]


def _swap(rng: random.Random, content: bytes) -> bytes:
    start, stop = _block(rng, content)
    first = content[: stop - start]
    return content[start:stop] + content[len(first) : start] + first + content[stop:] if start else content[::-1]


def _header(rng: random.Random, content: bytes) -> bytes:
    """Replace the beginning by that of another format."""
    headers = (b"SQLite format 3\0", b"PK\x03\x04", b"\x1f\x8b\x08\0", b"\x93NUMPY\x01\0", b"\xff" * 8, b"\0" * 100)
    header = rng.choice(headers)
    return header + content[len(header) :]


def _longer(rng: random.Random, content: bytes) -> bytes:
    return content + rng.choice((b"\0" * PAGE, content[-PAGE:], rng.randbytes(100)))
