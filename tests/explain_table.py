"""The identification table of ``explain``: how often planted mistakes are named, by family.

    python tests/explain_table.py [--cases N] [--seed S] [--failures FILE] [--write]

plants every mistake of the catalogue in random networks of every family and counts where its name
comes out, among those that the numbers can tell at all; then 1,000 correct cases, where nothing may
be named, and pairs of mistakes. ``--write`` keeps the result as the floor of the tests.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import time

import numpy as np
from planted import (
    MISTAKES,
    NotApplicableError,
    backprop,
    changed,
    choose,
    draw,
    identifiable,
    tolerance,
)
from planted_weights import WEIGHTINGS

from xpnet.mistakes import Problem, explain_gradients

FLOOR = pathlib.Path(__file__).parent / "data" / "explain_table.txt"

BATCHES = {"m=1": 1, "m=2": 2, "m=3-8": (3, 8), "m=9-64": (9, 64)}
FAMILIES = {
    "layers": {f"{n} layers": {"n_layers": n} for n in (2, 3, 4)},
    "shape": {"square": {"square": True}, "oblong": {"square": False}},
    "batch": {name: {"m": m} for name, m in BATCHES.items()},
    "dtype": {name: {"dtype": name} for name in ("float32", "float64")},
    "loss": {"declared": {"declared": True}, "open": {"declared": False}},
}
IN_PAIRS = tuple(name for name in MISTAKES if name not in WEIGHTINGS)
"""Weights of the samples are looked for where nothing else is wrong."""

COLUMNS = ["all", *itertools.chain(*FAMILIES.values())]


def cases(n, seed=0):
    """n random cases of each of the 96 families, with the columns of the table they belong to."""
    for _ in range(n):
        for kinds in itertools.product(*(family.items() for family in FAMILIES.values())):
            given = {key: value for _, options in kinds for key, value in options.items()}
            yield draw(seed, **given), ["all", *(name for name, _ in kinds)]
            seed += 1


def explained(case, gradients):
    return explain_gradients(Problem(**case.problem), gradients)


def complaints(case, plant, gradients, explanation):
    """What is not as it should be in an explanation of one mistake; nothing if it is named.

    The first gradient that is wrong must have its name and so must all that inherit it; what is
    wrong is never called correct, what is right always.
    """
    found = explanation.gradients
    said = [f"nothing is said of {name}" for name in gradients if name not in found]
    wrong = [name for name in changed(case, gradients) if name in found]
    for name in wrong:
        inherits = isinstance(plant.place, int) and int(name[2:]) < plant.place
        if found[name].verdict != plant.name:
            off = distance(case, name, gradients[name])
            said.append(f"{name} {verdict(found[name])} (off by {off:.0e})")
        elif inherits and not found[name].inherited:
            said.append(f"{name} is not inherited")
    for name, finding in found.items():
        right = name not in wrong and untouched(case, name, gradients[name])
        if right and finding.verdict != "correct":
            said.append(f"{name} is right, not {verdict(finding)}")
    return said


def verdict(finding):
    return "+".join(finding.mistakes or (finding.verdict,)) + " (inherited)" * finding.inherited


def untouched(case, name, gradient):
    """Whether nothing but rounding has happened to a gradient that counts as right."""
    return distance(case, name, gradient) <= 0.01 * tolerance(case)


def distance(case, name, gradient):
    """||g - right|| / ||right||; infinite where the shapes differ."""
    right, g = (np.ravel(a).astype(float) for a in (backprop(case)[name], gradient))
    size = max(np.linalg.norm(right), 1e-300)
    return np.inf if g.size != right.size else np.linalg.norm(g - right) / size


class Count:
    """How many of how many."""

    def __init__(self):
        self.hits, self.total = 0, 0

    def add(self, hit):
        self.hits += bool(hit)
        self.total += 1

    def __str__(self):
        return f"{100 * self.hits / self.total:.1f}" if self.total else "-"


class Table:
    """The counts of mistakes (rows) by columns, the failures in words and the time it took."""

    def __init__(self):
        self.rows = {name: {column: Count() for column in COLUMNS} for name in MISTAKES}
        self.failures, self.seconds, self.calls = [], 0.0, 0

    def add(self, name, columns, hit):
        for column in columns:
            self.rows[name][column].add(hit)

    def overall(self):
        return sum(r["all"].hits for r in self.rows.values()), sum(
            r["all"].total for r in self.rows.values()
        )

    def explained(self, case, gradients):
        start = time.perf_counter()
        explanation = explained(case, gradients)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return explanation


def singles(n, seed=0):
    """The table of single mistakes over n cases of each family, from this seed on."""
    table = Table()
    for case, columns in cases(n, seed):
        for name in MISTAKES:
            try:
                plant = choose(case, name)
            except NotApplicableError:
                continue
            if not identifiable(case, [plant]):
                continue
            gradients = backprop(case, [plant])
            said = complaints(case, plant, gradients, table.explained(case, gradients))
            table.add(name, columns, not said)
            if said:
                table.failures.append(f"{plant} | {case} | {'; '.join(said)}")
    return table


def pairs(n, seed=0):
    """Two random mistakes in n networks: in how many both are named, and what was said if not.

    The first count asks for both and nothing else, the second leaves room for a third.
    """
    exactly, both, failures = Count(), Count(), []
    for i in itertools.count(500_000 + seed):
        if both.total == n:
            return exactly, both, failures
        case = draw(i, m=(2, 64))
        rng = np.random.default_rng(i)
        try:
            two = [choose(case, IN_PAIRS[j]) for j in rng.choice(len(IN_PAIRS), 2, replace=False)]
            gradients = backprop(case, two)
        except NotApplicableError:
            continue
        if not all(identifiable(case, planted) for planted in (two, two[:1], two[1:])):
            continue
        found = explained(case, gradients).gradients
        named = {name for finding in found.values() for name in finding.mistakes}
        wrong = changed(case, gradients)
        missed = any(name not in found or found[name].verdict == "correct" for name in wrong)
        planted = {plant.name for plant in two}
        both.add(planted <= named and not missed)
        exactly.add(planted == named and not missed)
        if planted != named or missed:
            told = "; ".join(f"{name} {verdict(finding)}" for name, finding in found.items())
            failures.append(f"{two[0]} & {two[1]} | {case} | {told}")
    raise AssertionError


def accusations(n, dtype, seed=0):
    """What is said against n correct cases: it should be nothing."""
    said = []
    for i in range(n):
        case = draw(700_000 + seed + i, dtype=dtype)
        gradients = backprop(case)
        explanation = explained(case, gradients)
        if not explanation.correct or explanation.gradients.keys() != gradients.keys():
            wrong = [f"{k} {verdict(f)}" for k, f in explanation.gradients.items()]
            said.append(f"{case} | {'; '.join(wrong)}")
    return said


def text(table):
    """The table as text, a mistake a line."""
    width = max(map(len, MISTAKES))
    lines = [" " * width + "".join(f"{column:>9}" for column in ("cases", *COLUMNS))]
    for name, row in table.rows.items():
        cells = "".join(f"{row[column]!s:>9}" for column in COLUMNS)
        lines.append(f"{name:<{width}}{row['all'].total:>9}{cells}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=3, help="networks of each of the 96 families")
    parser.add_argument("--correct", type=int, default=1000, help="correct cases of each dtype")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="the first; that of the floor is 0")
    parser.add_argument("--failures", type=pathlib.Path, help="where to list what was not named")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {FLOOR.name}")
    arguments = parser.parse_args()
    table = singles(arguments.cases, arguments.seed)
    hits, total = table.overall()
    exactly, both, lost = pairs(arguments.pairs, arguments.seed)
    accused = {
        dtype: accusations(arguments.correct, dtype, arguments.seed)
        for dtype in ("float32", "float64")
    }
    report = [
        text(table),
        "",
        f"named, top one: {hits} of {total} ({100 * hits / total:.2f} %)",
        f"pairs, both named: {both.hits} of {both.total} ({both} %)",
        f"pairs, both named and nothing else: {exactly.hits} of {exactly.total} ({exactly} %)",
        *(
            f"false accusations, {dtype}: {len(said)} of {arguments.correct} correct cases"
            for dtype, said in accused.items()
        ),
    ]
    print("\n".join(report))
    print(f"{1000 * table.seconds / table.calls:.1f} ms a case")
    if arguments.write:
        FLOOR.write_text("\n".join(report) + "\n", encoding="utf-8")
    if arguments.failures:
        accusing = [f"ACCUSED | {line}" for said in accused.values() for line in said]
        lines = [*accusing, *table.failures, "", "PAIRS", *lost]
        arguments.failures.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
