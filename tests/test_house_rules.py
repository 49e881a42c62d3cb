"""The rules of the house, as tests: each rule finds what breaks it, in this tree and in a tree made to break it."""

import ast
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 300
LONG_BECAUSE = "Long because"
TIMED = "# timed: "
"""Marks a sleep in a test; what follows says why no event can be awaited instead."""
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}
"""Words that say nothing about what a file is for."""

WITHOUT_TESTS: dict[str, str] = {
    "gateway/core/clock.py": "two type aliases",
    "gateway/core/settings.py": "a base class that only configures pydantic",
}
"""Modules that need no test module of their own, each with its reason."""


def python_files(root: Path, *folders: str) -> list[Path]:
    """Returns the Python files under some folders, in order."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def home_of_tests(path: Path) -> Path:
    """Returns where the tests of a module live: ``gateway/core/x.py`` -> ``tests/core/test_x.py``."""
    package, name = path.parts[1:-1], path.stem.strip("_")
    if path.stem == "__init__":
        package, name = package[:-1], package[-1] if package else "gateway"
    return Path("tests", *package, f"test_{name}.py")


def untested(root: Path, allowed: dict[str, str]) -> list[str]:
    """Modules without a test module; a package's ``__init__`` needs one only if it defines something."""
    complaints = []
    for path in python_files(root, "gateway"):
        module = path.relative_to(root)
        needs = path.stem != "__init__" or any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        )
        tested = (root / home_of_tests(module)).exists()
        if needs and not tested and str(module) not in allowed:
            complaints.append(f"{module}: write {home_of_tests(module)}")
        if tested and str(module) in allowed:
            complaints.append(f"{module}: has tests, take it off the list of modules without")
    return complaints + [f"{name}: is listed, but not there" for name in allowed if not (root / name).exists()]


def without_docstring(root: Path) -> list[str]:
    """Modules whose docstring is missing, or whose first line is no sentence; empty files have nothing to say."""
    complaints = []
    for path in python_files(root, "gateway", "tests", "bench"):
        text = path.read_text("utf-8")
        docstring = ast.get_docstring(ast.parse(text)) or ""
        if text and not re.search(r"[.:](\s|$)", docstring.split("\n")[0]):
            complaints.append(f"{path.relative_to(root)}: say in the first line of its docstring what it is")
    return complaints


def too_long(root: Path) -> list[str]:
    """Modules above the limit whose docstring does not say why."""
    complaints = []
    for path in python_files(root, "gateway", "tests", "bench"):
        text = path.read_text("utf-8")
        lines = len(text.splitlines())
        if lines > MAX_LINES and LONG_BECAUSE not in (ast.get_docstring(ast.parse(text)) or ""):
            complaints.append(f"{path.relative_to(root)}: {lines} lines, split it or say '{LONG_BECAUSE} …'")
    return complaints


def badly_named(root: Path) -> list[str]:
    """Files and folders whose names hold a word that says nothing."""
    return [
        f"{path.relative_to(root)}: name it after what it does"
        for folder in ("gateway", "tests", "bench", "deploy")
        for path in sorted((root / folder).rglob("*"))
        if EMPTY_NAMES & set(re.split(r"[^a-z]+", path.stem.lower()))
    ]


def unmarked_sleeps(root: Path) -> list[str]:
    """Calls of ``sleep`` in tests whose lines have no mark with a reason."""
    complaints = []
    for path in python_files(root, "tests"):
        with path.open("rb") as source:
            marked = {
                token.start[0]
                for token in tokenize.tokenize(source.readline)
                if token.type == tokenize.COMMENT
                and token.string.startswith(TIMED)
                and len(token.string) > len(TIMED) + 10
            }
        for call in _calls(ast.parse(path.read_text("utf-8"))):
            name = getattr(call.func, "attr", getattr(call.func, "id", None))
            if name == "sleep" and not marked & set(range(call.lineno, (call.end_lineno or call.lineno) + 1)):
                complaints.append(f"{path.relative_to(root)}:{call.lineno}: await an event, or mark it '{TIMED}why'")
    return complaints


def packages_without_init(root: Path) -> list[str]:
    """Folders of modules that are no packages: the import contracts and the installed package would miss them."""
    folders = {path.parent for path in python_files(root, "gateway")}
    return [f"{f.relative_to(root)}: add __init__.py" for f in sorted(folders) if not (f / "__init__.py").exists()]


def version_mismatch(root: Path) -> list[str]:
    """The package's version against the first version that the changelog names."""
    changelog = root / "CHANGELOG.md"
    if not changelog.exists():
        return ["CHANGELOG.md: is missing"]
    headings = re.findall(r"^## +\[?v?(\d\S*?)\]?(?:\s|$)", changelog.read_text("utf-8"), re.MULTILINE)
    version = re.search(r'^__version__ = "(.+)"$', (root / "gateway/__init__.py").read_text("utf-8"), re.MULTILINE)
    top, ours = headings[0] if headings else None, version[1] if version else None
    return [] if top == ours and ours else [f"CHANGELOG.md says {top}, gateway.__version__ {ours}"]


def unknown_make_targets(root: Path) -> list[str]:
    """Targets that the README's code tells people to make and the Makefile does not have."""
    missing = [f"{name}: is missing" for name in ("README.md", "Makefile") if not (root / name).exists()]
    if missing:
        return missing
    readme = (root / "README.md").read_text("utf-8")
    code = re.findall(r"^```.*?^```", readme, re.MULTILINE | re.DOTALL)
    code += re.findall(r"`[^`\n]+`", re.sub(r"^```.*?^```", "", readme, flags=re.MULTILINE | re.DOTALL))
    told = {
        word
        for span in code
        for words in re.findall(r"(?:^|[`&;|$]|\$ )\s*make((?: +[a-z][a-z0-9_-]*)+)", span, re.MULTILINE)
        for word in words.split()
    }
    makefile = (root / "Makefile").read_text("utf-8")
    targets = {t for line in re.findall(r"^([\w -]+):(?!=)", makefile, re.MULTILINE) for t in line.split()}
    return [f"README.md: make {name} is no target of the Makefile" for name in sorted(told - targets)]


def broken_imports(root: Path) -> list[str]:
    """What the import contracts of ``setup.cfg`` say (import-linter, in a process of its own)."""
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return [] if run.returncode == 0 else [run.stdout + run.stderr]


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


RULES: dict[str, Callable[[Path], list[str]]] = {
    "tested": lambda root: untested(root, WITHOUT_TESTS),
    "docstring": without_docstring,
    "length": too_long,
    "names": badly_named,
    "sleeps": unmarked_sleeps,
    "packages": packages_without_init,
    "version": version_mismatch,
    "make": unknown_make_targets,
    "imports": broken_imports,
}


@pytest.mark.parametrize("rule", RULES)
def test_house_is_in_order(rule: str) -> None:
    """This tree breaks no rule."""
    assert RULES[rule](ROOT) == []


@pytest.fixture
def bad_house(tmp_path: Path) -> Path:
    """A tree that breaks every rule once or more."""
    files = {
        "gateway/__init__.py": '"""A package."""\n__version__ = "1.0.0"\n',
        "gateway/app.py": '"""Fine."""\n',
        "gateway/__main__.py": '"""Fine."""\n',
        "gateway/core/__init__.py": '"""Defines.\n\nMore."""\n\n\ndef f() -> None: ...\n',
        "gateway/core/pure.py": '"""Not so."""\nimport asyncio\nimport gateway.app\n',
        "gateway/lost/part.py": '"""no full stop"""\n',
        "tests/test_app.py": '"""Sleeps."""\nimport time\nfrom asyncio import sleep\n\nsleep(1)\n'
        'time.sleep(1)  # timed: because\ntime.sleep(\n    0\n)  # timed: the kernel gives no event\n"# timed: x"\n',
        "tests/http_utils.py": '"""Long."""\n' + "x = 1\n" * MAX_LINES,
        "tests/long.py": '"""Long.\n\nLong because it is a table.\n"""\n' + "x = 1\n" * MAX_LINES,
        "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n## [0.9.0] - 2026-01-01\n\n## 1.0.0\n",
        "README.md": "Run `make run` or `make nothing`; they make sense.\n\n```sh\n$ make test check\nmake -j2\n```\n",
        "Makefile": ".PHONY: run\nX := 1\nrun test: dep\n\ttrue\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_untested_modules_are_found(bad_house: Path) -> None:
    """A module without tests, a defining ``__init__``, and stale entries of the list are named."""
    allowed = {"gateway/app.py": "stale", "gateway/gone.py": "gone", "gateway/core/pure.py": "thin"}
    assert untested(bad_house, allowed) == [
        "gateway/__main__.py: write tests/test_main.py",
        "gateway/app.py: has tests, take it off the list of modules without",
        "gateway/core/__init__.py: write tests/test_core.py",
        "gateway/lost/part.py: write tests/lost/test_part.py",
        "gateway/gone.py: is listed, but not there",
    ]


def test_missing_documents_are_found(tmp_path: Path) -> None:
    """A tree without changelog, README or Makefile is told what to write."""
    assert version_mismatch(tmp_path) == ["CHANGELOG.md: is missing"]
    assert unknown_make_targets(tmp_path) == ["README.md: is missing", "Makefile: is missing"]


@pytest.mark.parametrize(
    ("rule", "complaints"),
    [
        ("docstring", ["gateway/lost/part.py: say in the first line of its docstring what it is"]),
        ("length", ["tests/http_utils.py: 301 lines, split it or say 'Long because …'"]),
        ("names", ["tests/http_utils.py: name it after what it does"]),
        ("sleeps", [f"tests/test_app.py:{n}: await an event, or mark it '# timed: why'" for n in (5, 6)]),
        ("packages", ["gateway/lost: add __init__.py"]),
        ("version", ["CHANGELOG.md says 0.9.0, gateway.__version__ 1.0.0"]),
        ("make", [f"README.md: make {name} is no target of the Makefile" for name in ("check", "nothing")]),
    ],
)
def test_broken_rules_are_found(bad_house: Path, rule: str, complaints: list[str]) -> None:
    """Every rule finds what breaks it, and nothing else."""
    assert RULES[rule](bad_house) == complaints


def test_broken_imports_are_found(tmp_path: Path) -> None:
    """In a copy of this tree, an import that points up and a core that does I/O break their contracts."""
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    with (tmp_path / "gateway/core/clock.py").open("a") as module:
        module.write("import gateway.proxy\nimport asyncio\n")
    (complaint,) = broken_imports(tmp_path)
    assert re.search(r"Imports point down.*BROKEN", complaint)
    assert re.search(r"sans-IO.*BROKEN", complaint)
    assert "gateway.core.clock -> gateway.proxy" in complaint
    assert "gateway.core.clock -> asyncio" in complaint
