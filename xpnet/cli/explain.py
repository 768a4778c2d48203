"""``xpnet explain``: which formula gives these gradients?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from ..activations import ACTIVATIONS
from ..errors import UsageError, check_not_negative, check_positive
from ..mistakes import CATALOGUE, Explanation, Finding, Mistake, explain_gradients
from ..mistakes.layout import LAYOUTS
from ..mistakes.otherwise import right_otherwise
from ..mistakes.problem import LOSSES, OUTPUTS, REDUCTIONS, Problem, output_before
from ..mistakes.read import Given, read_gradients
from .options import FILE, Name, Names, Number, common, emit
from .page import Page
from .subject import given

__all__ = ["explain"]

OFTEN_CALLED = {
    "softmax-xent": ["xent", "ce", "cce", "nll", "softmax", "cross-entropy", "crossentropy"],
    "sigmoid-bce": ["bce", "bce-with-logits", "binary-cross-entropy", "binary-crossentropy"],
    "mse": ["se", "sse", "l2", "quadratic", "squared-error"],
}


class LossName(Name):
    """A loss; what others call it is answered with our name."""

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        name = str(value).replace("_", "-")
        for known, others in OFTEN_CALLED.items():
            if name.lower() in others:
                self.fail(f"unknown loss {value!r}: did you mean {known!r}?", param, ctx)
        return super().convert(name, param, ctx)


@click.command()
@click.argument("file", type=FILE, required=False)
@click.option(
    "--activation",
    type=Names("activation", ACTIVATIONS),
    metavar="NAME[,NAME...]",
    default="sigmoid",
    show_default=True,
    help=f"Of the hidden layers, or one for each: {', '.join(ACTIVATIONS)}.",
)
@click.option(
    "--loss", type=LossName("loss", LOSSES), default="softmax-xent", show_default=True,
    help="What the gradients should be of.",
)  # fmt: skip
@click.option(
    "--output", type=Name("output", OUTPUTS),
    help="What stands before the loss.  [default: softmax or sigmoid as the loss says, identity "
    "for mse]",
)  # fmt: skip
@click.option(
    "--reduction", type=Name("reduction", REDUCTIONS),
    help="Of the loss over the samples.  [default: whatever the gradients agree on]",
)  # fmt: skip
@click.option(
    "--scale", type=Number(float, check_positive), metavar="C",
    help="The loss is C times the sum over samples and outputs; in place of --reduction.",
)  # fmt: skip
@click.option(
    "--l2", type=Number(float, check_not_negative), metavar="LAMBDA", default=0.0,
    show_default=True, help="The loss adds LAMBDA/2 times the sum of all squared weights.",
)  # fmt: skip
@click.option(
    "--layout", type=Name("layout", LAYOUTS),
    help="rows: W is (n_in, n_out), x @ W. columns: W is (n_out, n_in), W @ x or x @ W.T.  "
    "[default: what fits]",
)  # fmt: skip
@click.option("--list", "show_list", is_flag=True, help="Print all mistakes that have a name.")
@common
def explain(
    file: Path | None, show_list: bool, as_json: bool, layout: str | None, **declared: Any
) -> None:
    """Name the mistake in gradients of your own, from any language.

    FILE is an .npz with a batch x and y, the weights W1 b1 W2 b2 ... (biases may be missing) and
    the gradients that you computed for them: dW1 db1 dW2 db2 ..., or some of these, such as
    numpy.savez("mine.npz", x=x, y=y, W1=W1, b1=b1, dW1=dW1, db1=db1). A few dozen samples are
    enough. Exit code 1 if a gradient is wrong.
    """
    if show_list:
        if file is not None:
            raise UsageError(f"--list prints the catalogue and reads no file: leave {file} out")
        print_catalogue(as_json)
        return
    if file is None:
        raise UsageError("FILE is missing: name an .npz, or ask for --list (see --help)")
    read = read_gradients(file, layout=layout, **declared)
    with np.errstate(all="ignore"), Console(stderr=True).status("comparing"):
        found = explain_gradients(read.problem, read.grads)
        other = meant(read, found)
    if as_json:
        emit_explanation(found, [*read.notes, *([meant_text(other)] if other else [])])
    else:
        print_explanation(file, read, found, other)
    if not found.correct:
        click.get_current_context().exit(1)


def emit_explanation(found: Explanation, notes: Iterable[str]) -> None:
    emit(
        gradients={name: finding.as_json() for name, finding in found.gradients.items()},
        factor=found.factor,
        reading=found.reading,
        warnings=[*notes, *found.warnings],
        correct=found.correct,
    )


# ---- for people ------------------------------------------------------------------------------


def print_explanation(file: Path, read: Given, found: Explanation, other: Problem | None) -> None:
    page = Page()
    page.say(f"{file} read as: {assumed(read)}")
    page.say(found.reading)
    page.say("")
    for name, finding in found.gradients.items():
        print_finding(page, name, finding, found)
    page.say("")
    for kind, texts in (("note", read.notes), ("warning", found.warnings)):
        for text in texts:
            page.say(f"{kind}: {text}", hanging="  ")
    guessed = [f"--{name}" for name in ("activation", "loss") if not given(name)]
    if guessed and other is None and a_layer_is_unexplained(found):
        page.say(
            f"note: is it really {network_text(read.problem)}? That was assumed; "
            f"{' and '.join(guessed)} can say otherwise",
            hanging="  ",
        )
    page.say(meant_text(other) if other else summary(found), style="bold")
    page.print()


def a_layer_is_unexplained(found: Explanation) -> bool:
    """Whether nothing explains any gradient of some layer: then the network may be another one."""
    explained = {name for name, one in found.gradients.items() if one.verdict != "unexplained"}
    return not {*map(layer_of, found.gradients)} <= {*map(layer_of, explained)}


def meant(read: Given, found: Explanation) -> Problem | None:
    """The network of which all gradients are right, if it differs only in what was not said."""
    activation, loss = not given("activation"), not (given("loss") or given("output"))
    if not a_layer_is_unexplained(found) or not (activation or loss):
        return None
    return right_otherwise(read.problem, read.grads, activation=activation, loss=loss)


def meant_text(other: Problem) -> str:
    """What the gradients are right for, and the options that say so, of those not given."""
    hidden = ",".join(dict.fromkeys(f.name for f in other.hidden))
    output = "" if other.output == output_before(other.loss, None) else other.output
    said = {"activation": hidden, "loss": other.loss, "output": output}
    options = [f"--{name} {value}" for name, value in said.items() if value and not given(name)]
    return f"All are exactly right for {network_text(other)}: say {' '.join(options)}."


def print_finding(page: Page, name: str, finding: Finding, found: Explanation) -> None:
    """One line on a gradient, and below it what is wrong."""
    inside = "     "
    if finding.verdict == "correct":
        page.say(f"{name}  correct", style="green")
    else:
        residual = f"  (residual {finding.residual:.1g})" if finding.mistakes else ""
        verdict = " + ".join(finding.mistakes) or finding.verdict
        page.say(f"{name}  {verdict}{residual}", hanging=inside, style="bold red")
    if finding.inherited:
        source = f"dZ{origin(name, finding, found)}"
        page.say(f"inherited: comes with {source}, and is right once that is.", inside)
    elif finding.verdict != "correct":
        page.say(finding.reason, inside)
        wrong, _, its_deltas = finding.formula.partition("  with  ")
        right, _, deltas = finding.correct_formula.partition("  with  ")
        if wrong:
            print_formula(page, "yours", wrong, its_deltas if its_deltas != deltas else "")
        print_formula(page, "right", right, deltas)
    if finding.alternatives:
        names = ", ".join(finding.alternatives)
        page.say(f"these data cannot tell it from: {names}", inside)


def print_formula(page: Page, who: str, formula: str, deltas: str) -> None:
    """A formula, and below it the deltas in it that matter."""
    page.say(f"{who}: {formula}", indent=" " * 5, hanging=" " * 14)
    for delta in deltas.split("; ") if deltas else []:
        page.say(f"with {delta}", indent=" " * 12, hanging=" " * 17)


def origin(name: str, finding: Finding, found: Explanation) -> int:
    """The layer that an inherited mistake comes from: the nearest that has it of its own."""
    layers = [
        layer_of(other)
        for other, theirs in found.gradients.items()
        if layer_of(other) > layer_of(name)
        and not theirs.inherited
        and set(theirs.mistakes) & set(finding.mistakes)
    ]
    return min(layers, default=layer_of(name) + 1)


def layer_of(name: str) -> int:
    return int(name[2:])


def summary(found: Explanation) -> str:
    """How many are wrong, and what to fix first: the own mistake next to the output."""
    wrong = {name: one for name, one in found.gradients.items() if one.verdict != "correct"}
    n = len(found.gradients)
    if not wrong:
        return "The gradient is correct." if n == 1 else f"All {n} gradients are correct."
    own = [name for name, finding in wrong.items() if not finding.inherited] or list(wrong)
    first = min(own, key=lambda name: (-layer_of(name), wrong[name].verdict == "unexplained"))
    verb = "is" if len(wrong) == 1 else "are"
    return f"{len(wrong)} of {n} gradients {verb} wrong; first fix {first}: {wrong[first].verdict}."


def assumed(read: Given) -> str:
    """What the file was taken for."""
    problem = read.problem
    widths = [problem.x.shape[1], *(w.shape[1] for w in problem.W)]
    with_biases = [f"b{i}" for i, b in enumerate(problem.b, 1) if b is not None]
    parts = [
        "-".join(map(str, widths)),
        network_text(problem),
        f"{problem.m} sample{'s' if problem.m > 1 else ''}",
    ]
    if len(with_biases) < problem.n_layers:
        parts.append(f"biases {', '.join(with_biases)}" if with_biases else "no biases")
    if problem.l2:
        parts.append(f"L2 {problem.l2:g}")
    parts.append(f"layout {read.layout.name} ({read.layout.formula})")
    turned = "; formulas are those of rows, x @ W + b" if read.layout.name == "columns" else ""
    return ", ".join(parts) + turned


def network_text(problem: Problem) -> str:
    """Activations and loss."""
    hidden = [f.name for f in problem.hidden]
    names = hidden[:1] if len(set(hidden)) == 1 else [",".join(hidden)] if hidden else []
    loss = {
        ("softmax-xent", "softmax"): "softmax cross-entropy",
        ("sigmoid-bce", "sigmoid"): "sigmoid with binary cross-entropy",
    }.get((problem.loss, problem.output))
    bare = {"softmax-xent": "cross-entropy", "sigmoid-bce": "binary cross-entropy"}
    loss = loss or f"{bare.get(problem.loss, 'squared error')} of {problem.output} outputs"
    return ", ".join([*names, loss])


# ---- the catalogue ---------------------------------------------------------------------------

GROUPS = {
    "factor": "A constant before a gradient",
    "weights": "The product for the weights",
    "samples": "The sum over the samples",
    "biases": "The sum for the biases",
    "penalty": "The regulariser",
    "output": "The delta of the output",
    "step": "The step back through a layer",
}


def print_catalogue(as_json: bool) -> None:
    """All mistakes that have a name; JSON has one a line."""
    mistakes = [in_brackets(mistake) for mistake in CATALOGUE.values()]
    if as_json:
        for mistake in mistakes:
            emit(event="mistake", **mistake._asdict())
        return
    page = Page()
    page.say("Rows are samples; l is the layer, A[l] = f(Z[l]) its output, and A[0] = x.")
    for where in dict.fromkeys(mistake.where for mistake in mistakes):
        page.say("")
        page.say(GROUPS.get(where, where), style="bold underline")
        for mistake in mistakes:
            if mistake.where == where:
                page.say(mistake.name, indent="  ", style="bold")
                page.say(mistake.reason, indent="    ")
                page.say(f"wrong: {mistake.wrong}", indent="    ", hanging=" " * 11)
                page.say(f"right: {mistake.right}", indent="    ", hanging=" " * 11)
    page.say("")
    page.say(f"{len(mistakes)} mistakes")
    page.print()


def in_brackets(mistake: Mistake) -> Mistake:
    """The mistake with its layers written as indices."""
    name, where, *texts = mistake
    return Mistake(name, where, *(text.format(l="[l]", p="[l-1]", n="[l+1]") for text in texts))
