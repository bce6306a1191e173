"""Which parts of ffcli may import which parts and packages, and calls that are forbidden everywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ffcli"
SOURCES = sorted(PACKAGE.rglob("*.py"))

SHARED = {
    "",
    "errors",
    "config",
    "schedule",
    "settings",
    "records",
    "published",
    "benchmark",
    "choices",
    "text",
    "files",
}
"""Modules that every part may import: values that cross between the parts, errors, small helpers, the version."""

REGISTRIES = {"engine.cures", "data.negatives"}
"""Registries that import no library. Settings look their entries up inside functions."""

MAY_IMPORT: dict[str, set[str]] = {
    "": {"api"},
    "errors": {"choices"},
    "files": {"errors"},
    "text": set(),
    "choices": set(),
    "benchmark": set(),
    "schedule": set(),
    "settings": {"choices", "errors", "schedule", "text", *REGISTRIES},
    "config": {"settings", "schedule", *REGISTRIES},
    "records": {"config", "choices", "schedule"},
    "published": {"config", "schedule"},
    "machine": SHARED,
    "estimate": SHARED,
    "engine": SHARED,
    "data": SHARED,
    "store": SHARED,
    "report": SHARED | {"data.negatives"},
    "plots": SHARED | {"report", "bench"},
    "web": SHARED | {"report", "store"},
    "bench": SHARED | {"planning", "engine", "data", "estimate", "machine"},
    "planning": SHARED | {"data", "estimate", "machine", "running.run"},
    "running": SHARED | {"engine", "data", "store", "estimate", "machine"},
    "filters": SHARED | {"data.catalogue", "data.negatives", "store"},
    "notebook": {"records"},
    "api": SHARED | {"filters", "notebook", "planning", "running", "inference", "engine", "data", "store", "report"},
    "inference": SHARED | {"engine", "data", "store", "running", "machine"},
    "trackers": SHARED | {"store"},
    "doctor": SHARED | {"machine", "data", "store"},
    "cli": SHARED
    | {
        "trackers",
        "doctor",
        "filters",
        "inference",
        "planning",
        "running",
        "estimate",
        "machine",
        "store",
        "report",
        "bench",
        "plots",
        "data",
        "web",
    },
    "__main__": {"cli"},
}
"""The parts of ffcli (files and packages) and the parts that each may import; imports within a part are free. A new
part declares here where it belongs."""

ONLY_IN: dict[str, set[str]] = {
    "torch": {"engine", "data", "bench", "running.session", "machine", "inference", "trackers"},
    "torchvision": {"data"},
    "sqlalchemy": {"store"},
    "sqlite3": {"store"},
    "alembic": {"store"},
    "typer": {"cli"},
    "rich": {"cli", "report"},
    "pandas": {"api"},
    "pyarrow": {"store.export"},
    "tensorboard": {"trackers.tensorboard"},
    "mlflow": {"trackers.mlflow"},
    "PIL": {"data.pictures", "inference.images", "bench"},
    "distributed": {"running.cluster", "running.worker"},
    "dask": {"running.cluster"},
    "dask_jobqueue": {"running.cluster"},
    "safetensors": {"store", "data", "inference.weights"},
    "matplotlib": {"plots"},
    "jinja2": {"web.page"},
    "markupsafe": {"web.page"},
    "waitress": {"web.server"},
    "pickle": {"data.formats"},
}
"""Third-party packages and the only parts that may import them."""

LOADS_TORCH = {"engine", "data.tensors", "bench", "running.session", "inference.inspection"}
"""Parts that import torch at module level; elsewhere it is imported inside functions."""


@dataclass(frozen=True)
class Import:
    """An import of `module` by `importer`; `lazy` if inside a function."""

    importer: str
    module: str
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"ffcli.{self.importer}, line {self.line}, imports {self.module}"


def name_of(path: Path) -> str:
    """Return the module's name below ffcli: `store.runs`; empty for ffcli itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[Import]:
    """Yield the imports of a file, except those for type checkers."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            yield from (Import(name_of(path), alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield Import(name_of(path), full if is_module(full) else str(node.module), node.lineno, lazy)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, lazy or isinstance(node, ast.FunctionDef))

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


def is_module(name: str) -> bool:
    place = PACKAGE.parent.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def among(module: str, parts: set[str]) -> bool:
    """Return whether `module` is one of `parts` or inside one."""
    return any(module == part or (part and module.startswith(f"{part}.")) for part in parts)


IMPORTS = [found for path in SOURCES for found in imports_of(path)]


def test_imports_are_found() -> None:
    assert len(SOURCES) > 50
    assert any(
        found.importer == "running.run" and found.module == "ffcli.running.session" and found.lazy for found in IMPORTS
    )
    assert any(found.module == "ffcli.data.datasets" for found in IMPORTS)


def test_imports_follow_the_layers() -> None:
    wrong = []
    for found in IMPORTS:
        part = found.importer.partition(".")[0]
        if found.module.split(".")[0] == "ffcli":
            inner = found.module.removeprefix("ffcli").lstrip(".")
            if not among(inner, MAY_IMPORT[part] | {part}):
                wrong.append(str(found))
    assert wrong == []


def test_every_part_declares_its_imports() -> None:
    assert {name_of(path).partition(".")[0] for path in SOURCES} == MAY_IMPORT.keys()


@pytest.mark.parametrize("package", ONLY_IN)
def test_packages_are_imported_only_by_their_parts(package: str) -> None:
    loading = [found for found in IMPORTS if among(found.module, {package})]
    assert [str(found) for found in loading if not among(found.importer, ONLY_IN[package])] == []


def test_only_modules_with_tensors_import_torch() -> None:
    at_import = [found for found in IMPORTS if among(found.module, {"torch"}) and not found.lazy]
    assert [str(found) for found in at_import if not among(found.importer, LOADS_TORCH)] == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_module_uses_unsafe_calls(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        # Only migrations define the schema.
        assert not (isinstance(node, ast.Attribute) and node.attr == "create_all")
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"torch.load", "torch.save", "eval", "exec"}
            # There is one restricted unpickler, used only after a digest check: see `ffcli.data.formats`.
            assert called not in {f"pickle.{name}" for name in ("load", "loads", "Unpickler", "dump", "dumps")}
            for keyword in node.keywords:
                assert (keyword.arg, ast.unparse(keyword.value)) not in {("allow_pickle", "True"), ("shell", "True")}
