"""What lies in docker/, read as text; ``docker/check`` lints, builds and runs it."""

import ast
import fnmatch
import os
import pathlib
import re

import pytest

import xpnet

PACKAGE = pathlib.Path(xpnet.__file__).parent
ROOT = PACKAGE.parent
pytestmark = pytest.mark.skipif(
    not (ROOT / "docker").exists(), reason="runs in a checkout, not in an installation"
)

SERVICES = {"train": "cuda", "train-cpu": "cpu", "parity": "cuda", "test": "test"}
HARDENED = (
    "pull_policy: never",
    "network_mode: none",
    "read_only: true",
    "tmpfs: [/tmp]",
    "cap_drop: [ALL]",
    'security_opt: ["no-new-privileges:true"]',
)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def stages(dockerfile):
    """Name of a stage -> its instructions, those of the stage it is made from first."""
    found = {}
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", dockerfile))
    for line in filter(None, joined.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            found[name] = [*found.get(base, [("FROM", base)])]
        elif found:
            found[name].append((word, rest.strip()))
    return found


def last(instructions, word):
    return dict(instructions).get(word, "")


def dockerfile_faults(text):
    """What no image of ours may be, as far as the Dockerfile shows it."""
    faults = []
    made = stages(text)
    base = re.search(r"(?m)^ARG BASE_IMAGE=(\S+)$", text)[1]
    if not re.fullmatch(r"[\w./-]+:\d[\w.-]+(@sha256:[0-9a-f]{64})?", base):
        faults.append(f"the base has no version: {base}")
    if list(made)[-1] != "cpu":
        faults.append("cpu is not the default target")
    for name in ("cpu", "cuda", "test"):
        stage = made.get(name)
        if stage is None:
            faults.append(f"there is no target {name}")
            continue
        if stage[0] != ("FROM", "${BASE_IMAGE}"):
            faults.append(f"{name} is not made from BASE_IMAGE")
        user, _, group = last(stage, "USER").partition(":")
        if not (user.isdecimal() and int(user) and group.isdecimal() and int(group)):
            faults.append(f"{name} runs as {user}")
        if not {"/cache", "/data"} <= set(re.findall(r'"(.*?)"', last(stage, "VOLUME"))):
            faults.append(f"{name} has no volumes")
        if any(word == "ADD" or "pip install" in rest for word, rest in stage):
            faults.append(f"{name} installs at the last stage")
    for name, backend in (("cpu", "numpy"), ("cuda", "cupy")):
        stage = made.get(name, [])
        if last(stage, "ENTRYPOINT") != '["xpnet"]':
            faults.append(f"{name} does not start xpnet")
        if f"check_product(get('{backend}'))" not in last(stage, "HEALTHCHECK"):
            faults.append(f"{name} has no health check")
    if re.search(r":latest\b", text):
        faults.append("latest is no version")
    return faults


def services(compose):
    """Name of a service -> the lines that describe it."""
    part = re.search(r"(?ms)^services:\n(.*?)^\S", compose)[1]
    return dict(re.findall(r"(?m)^  ([\w-]+):\n((?:    .*\n|\n)+)", part))


def compose_faults(text):
    """What no service of ours may be, as far as the compose file shows it."""
    faults = []
    described = services(text)
    if described.keys() != SERVICES.keys():
        faults.append(f"the services are {', '.join(described)}")
    shared = re.search(r"(?ms)^x-hardened: &hardened\n(.*?)^\S", text)[1]
    faults += [f"not hardened: {line}" for line in HARDENED if f"  {line}\n" not in shared]
    for name, target in SERVICES.items():
        lines = described.get(name, "")
        if "<<: *hardened" not in lines or re.search("privileged|cap_add|network", lines):
            faults.append(f"{name} is not hardened")
        if f"image: xpnet:{target}\n" not in lines or f"target: {target}," not in lines:
            faults.append(f"{name} is not the image {target}")
        if ("gpus: all\n" in lines) != (target == "cuda"):
            faults.append(f"{name} has a GPU without need, or none")
    if re.search(r":latest\b", text):
        faults.append("latest is no version")
    return faults


def let_through(dockerignore):
    """What of the top level goes into a build."""
    lines = [line for line in dockerignore.splitlines() if line and not line.startswith("#")]
    kept = set()
    for name in os.listdir(ROOT):
        hidden = False
        for line in lines:
            if fnmatch.fnmatch(name, line.removeprefix("!")):
                hidden = not line.startswith("!")
        kept |= set() if hidden else {name}
    return kept


def copied(dockerfile):
    """What of the top level the images are made of."""
    lines = re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", dockerfile)
    return {name for line in lines for name in line.split()}


def ignored_faults(dockerfile, dockerignore):
    faults = []
    if (needed := copied(dockerfile)) != (found := let_through(dockerignore)):
        faults.append(f"the build needs {sorted(needed)} and gets {sorted(found)}")
    if dockerignore.splitlines()[-1] != "**/__pycache__":
        faults.append("compiled files get into the image")
    return faults


def test_the_dockerfile():
    assert dockerfile_faults(read("docker/Dockerfile")) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("USER 10001:10001", "USER root", "cpu runs as root"),
        ("USER 10001:10001", "USER 0:0", "cuda runs as 0"),
        ("python:3.13-slim-bookworm", "python:latest", "latest is no version"),
        ("python:3.13-slim-bookworm", "python", "the base has no version"),
        ("FROM runtime AS cuda", "FROM runtime AS gpu", "there is no target cuda"),
        ("FROM runtime AS cuda", "FROM nvidia/cuda:13.0.0-base AS cuda", "not made from BASE"),
        ("FROM runtime AS cpu", "FROM build AS cpu", "cpu installs at the last stage"),
        ('ENTRYPOINT ["xpnet"]', 'ENTRYPOINT ["sh"]', "cpu does not start xpnet"),
        ('VOLUME ["/cache", "/data"]', 'VOLUME ["/data"]', "cpu has no volumes"),
        ("get('cupy')", "get('numpy')", "cuda has no health check"),
    ],
)
def test_faults_planted_in_the_dockerfile(old, new, fault):
    text = read("docker/Dockerfile")
    assert old in text
    assert fault in "\n".join(dockerfile_faults(text.replace(old, new)))


def test_the_compose_file():
    assert compose_faults(read("docker/compose.yaml")) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("read_only: true", "read_only: false", "not hardened: read_only: true"),
        ("network_mode: none", "network_mode: host", "not hardened: network_mode: none"),
        ("cap_drop: [ALL]", "cap_drop: []", "not hardened: cap_drop: [ALL]"),
        ("  parity:", "  compare:", "the services are train, train-cpu, compare, test"),
        ("xpnet:cuda", "xpnet:latest", "latest is no version"),
        ("    gpus: all\n", "", "train has a GPU without need, or none"),
        ("    <<: *hardened\n", "    privileged: true\n", "train is not hardened"),
    ],
)
def test_faults_planted_in_the_compose_file(old, new, fault):
    text = read("docker/compose.yaml")
    assert old in text
    assert fault in "\n".join(compose_faults(text.replace(old, new)))


def test_the_build_gets_what_it_needs_and_nothing_else():
    assert ignored_faults(read("docker/Dockerfile"), read(".dockerignore")) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("!LICENSE\n", "", "and gets ['README.md'"),
        ("!LICENSE", "!LICENSE\n!docker", "and gets ['LICENSE', 'README.md', 'bench', 'docker'"),
        ("*\n", "", "and gets ["),
        ("**/__pycache__\n", "", "compiled files"),
    ],
)
def test_faults_planted_in_the_list_of_what_is_ignored(old, new, fault):
    text = read(".dockerignore")
    assert old in text
    text = text.replace(old, new, 1)
    assert fault in "\n".join(ignored_faults(read("docker/Dockerfile"), text))


def test_the_label_is_the_version():
    versions = set(re.findall(r"(?m)^ARG VERSION=(\S+)$", read("docker/Dockerfile")))
    assert versions == {xpnet.__version__}


def said():
    """A pattern for every text that the backends can print."""
    patterns = []
    for path in (PACKAGE / "backends").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            fixed = [getattr(part, "value", None) for part in parts]
            if any(isinstance(text, str) and len(text) > 9 for text in fixed):
                patterns.append(
                    ".*".join(re.escape(t) if isinstance(t, str) else "" for t in fixed)
                )
    return [re.compile(pattern) for pattern in patterns]


def unsaid(readme, patterns):
    """The errors that the README explains and that no backend prints."""
    part = re.search("(?s)## What an error means(.*?)From xpnet on any image", readme)[1]
    quoted = re.findall(r"(?m)^\| `Error: (.*?)` \|", part)
    assert len(quoted) > 3
    return [error for error in quoted if not any(p.fullmatch(error) for p in patterns)]


def test_the_readme_explains_errors_that_xpnet_prints():
    readme = read("docker/README.md")
    patterns = said()
    assert unsaid(readme, patterns) == []
    assert len(unsaid(readme.replace("no NVIDIA driver", "no driver of NVIDIA's"), patterns)) == 1
