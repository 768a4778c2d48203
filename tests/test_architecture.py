"""The shape of the house: who may import whom, vendor words, exports, forbidden calls."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import xpnet

PACKAGE = pathlib.Path(xpnet.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

# The order in which the source can be read: a module imports only from rooms further up.
ROOMS = [
    ["errors", "files", "types", "version"],
    ["tensorfile", "blocks", "lock"],
    ["random", "activations"],
    ["ops"],
    ["initializers"],
    ["layers", "losses", "optim", "schedules"],
    ["network", "spec", "backends"],
    ["data"],
    ["host_data"],
    ["datasets"],
    ["hyperparameters", "evaluation"],
    ["state"],
    ["source"],
    ["step"],
    ["train", "machine"],
    ["checkpoint"],
    ["checks"],
    ["mistakes", "symptoms", "recipes", "bench"],
    ["__init__"],
    ["cli"],
    ["__main__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
WITHIN_A_FLOOR = {("spec", "network")}

VENDORS = ("cupy", "torch", "jax")


def room_of(path):
    """The room a file belongs to: its module, or the folder under xpnet it lies in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path, tree):
    """The rooms that a file imports from."""
    package = ("xpnet", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = (*base, *(node.module or "").split(".")) if node.module else base
            names = [target] if len(target) > 1 else [(*target, a.name) for a in node.names]
            yield from (name[1] for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xpnet."):
            yield node.module.split(".")[1]


def climbs(room, target):
    """Whether ``room`` may not import from ``target``."""
    if room == target or (room, target) in WITHIN_A_FLOOR:
        return False
    return FLOOR[target] >= FLOOR[room]


def in_type_checking(tree):
    """Import nodes that only the type checker sees."""
    return {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }


def test_every_room_has_a_floor():
    assert {room_of(path) for path in FILES} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_import_only_from_lower_floors(path):
    tree = TREES[path]
    hidden = in_type_checking(tree)
    seen = ast.Module(
        [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and id(n) not in hidden], []
    )
    wrong = [target for target in imported_rooms(path, seen) if climbs(room_of(path), target)]
    assert not wrong


def test_an_import_from_a_higher_floor_is_noticed():
    """The planted fault."""
    tree = ast.parse("from .train import fit")
    [target] = imported_rooms(PACKAGE / "ops.py", tree)
    assert climbs("ops", target)
    assert not climbs("cli", "train")


def vendor_words(text):
    return re.findall(rf"\b({'|'.join(VENDORS)})\b", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_vendor_words_stand_only_under_backends(path):
    code = path.read_text(encoding="utf-8")
    assert room_of(path) == "backends" or not vendor_words(code)


def test_a_vendor_word_is_noticed():
    assert vendor_words("if backend == 'cupy':") == ["cupy"]


def exported(tree):
    """The names in ``__all__``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def defined(tree):
    """The names a module has at its top level; where it has __getattr__, those it gives, too."""
    late = any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in tree.body)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif late and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from defined(ast.Module(node.body, []))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.name != "__main__.py"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_all_is_sorted_and_true(path):
    names = exported(TREES[path])
    as_ruff_sorts = sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert list(names) == as_ruff_sorts
    assert set(names) <= set(defined(TREES[path]))


def test_what_is_loaded_late_is_there():
    assert all(callable(getattr(xpnet, name)) for name in xpnet.TOOLS)
    with pytest.raises(AttributeError, match="no attribute 'explane'"):
        _ = xpnet.explane


ENGINE = ("data", "evaluation", "host_data", "network", "source", "state", "step", "train")


def unmarked_waits(text):
    """Lines that wait for the device and do not say why."""
    return [line for line in text.splitlines() if ".to_numpy(" in line and "# sync:" not in line]


@pytest.mark.parametrize("name", ENGINE)
def test_where_the_engine_waits_for_the_device_it_says_why(name):
    text = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
    assert unmarked_waits(text) == []


def test_a_wait_without_a_reason_is_noticed():
    """The planted fault."""
    wait = "loss = backend.to_numpy(state.loss_sum).item()"
    assert unmarked_waits(wait) == [wait]
    assert not unmarked_waits(f"{wait}  # sync: the figure is wanted")


FORBIDDEN = (
    r"\b(pickle|marshal|shelve|eval|exec)\b\s*[.(]|allow_pickle=True|shell=True|extractall\("
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_pickled_or_evaluated(path):
    assert not re.search(FORBIDDEN, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_read_in_one_sitting(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 300


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_functions_and_classes_say_what_they_are(path):
    """Methods that a protocol in ``types`` describes need not repeat it."""
    tree = TREES[path]
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not ast.get_docstring(node)
    ]
    assert ast.get_docstring(tree)
    assert set(silent) & set(exported(tree) or []) == set()


def loaded_after(code):
    """The top-level modules loaded in a fresh interpreter after ``code``."""
    script = f"{code}\nimport sys\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_import_loads_no_vendor_and_no_command_line_library():
    heavy = {*VENDORS, "jaxlib", "array_api_strict", "click", "rich", "matplotlib", "sklearn"}
    assert not loaded_after("import xpnet") & heavy
    assert loaded_after("import jax") & heavy, "the check can see a vendor that is loaded"


def test_import_loads_nothing_that_only_one_platform_has():
    for path, tree in TREES.items():
        top = {
            alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
        }
        assert not top & {"fcntl", "resource", "termios", "tty", "pwd", "msvcrt", "winreg"}, path


def test_the_top_level_holds_what_the_design_names():
    root = PACKAGE.parent
    if not (root / "pyproject.toml").exists():
        pytest.skip("runs in a checkout, not in an installation")
    allowed = {"pyproject.toml", "README.md", "xpnet", "tests", "bench", "docker"}
    allowed |= {"LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"}
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, cwd=root, check=False
    ).stdout.splitlines()
    top = {name.split("/")[0] for name in listed}
    assert {name for name in top if not name.startswith(".")} <= allowed
