"""Sections that raise, hang or die, and workers that do: whatever is planted, the rest is there."""

import json
import os
import sys
import textwrap

import numpy as np
import pytest

import xpnet
from xpnet.bench import contestants, workloads
from xpnet.bench.contest import contest
from xpnet.bench.remote import Remote, Troupe
from xpnet.bench.sections import DONE, Section, ending, run_all, work
from xpnet.bench.sheet import Sheet
from xpnet.bench.standing import standings
from xpnet.errors import DataError, XpnetError

PLANTED = """
import os, sys, time
from pathlib import Path
from xpnet.bench import sections
from xpnet.bench.sections import Section
from xpnet.bench.sheet import Sheet

def fine(): return {"figure": 1.5}
def infinite(): return {"figure": float("inf")}
def raising(): raise RuntimeError("no such kernel in /usr/lib/secret/k.cu")
def dying(): os._exit(3)
def aborting(): os.abort()
def hanging(): time.sleep(60)
def spoiling():
    fine.__globals__["left_behind"] = True
    return {"figure": 2.5, "spoilt": True}
def spoilt():
    assert "left_behind" not in globals(), "the process is the one that was spoilt"
    return fine()
def missing(_): raise ImportError("no library")

PARTS = {
    "fine": {"one": fine, "two": infinite},
    "raises": {"one": fine, "bad": raising, "two": fine},
    "dies": {"one": fine, "bad": dying, "two": fine},
    "aborts": {"bad": aborting},
    "spoils": {"one": spoiling, "two": spoilt},
    "hangs": {"one": fine, "bad": hanging, "two": fine},
    "missing": None,
}

def section(name):
    parts = PARTS[name]
    return Section(name, "planted", 3.0, (lambda given: parts) if parts else missing, list)

if __name__ == "__main__":
    name, folder, seconds = sys.argv[1:]
    sections.end_with_parent()
    sheet = Sheet(Path(folder) / f"{name}.json")
    sys.exit(sections.work(section(name), sheet, None, float(seconds), lambda text: None))
"""


@pytest.fixture
def planted(tmp_path):
    """Run planted sections in ``tmp_path``: their sheets, and what was said."""
    script = tmp_path / "planted.py"
    script.write_text(textwrap.dedent(PLANTED), encoding="utf-8")

    def run(*names, seconds=30.0, **settings):
        said = []
        chosen = [
            Section(name, "planted", settings.get("limit", 8.0), None, None) for name in names
        ]
        run_all(
            chosen,
            tmp_path,
            lambda s, left: [sys.executable, str(script), s.name, str(tmp_path), str(left)],
            seconds=seconds,
            least=settings.get("least", 0.5),
            say=said.append,
        )
        found = {name: tmp_path / f"{name}.json" for name in names}
        return {name: Sheet(path) for name, path in found.items() if path.exists()}, said

    return run


# ---- sections ----------------------------------------------------------------------------------


def test_after_a_part_that_spoilt_its_process_there_is_a_new_one(planted):
    """What it found is kept."""
    sheets, _ = planted("spoils")
    assert sheets["spoils"].failures == []
    assert [part["figure"] for part in sheets["spoils"].parts.values()] == [2.5, 1.5]
    assert sheets["spoils"].complete


def test_results_are_kept_and_a_number_that_is_not_finite_is_a_word(planted, tmp_path):
    sheets, _ = planted("fine")
    assert sheets["fine"].complete
    assert sheets["fine"].parts["one"]["figure"] == 1.5
    assert sheets["fine"].parts["two"]["figure"] == "inf"
    text = (tmp_path / "fine.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises", "bad: RuntimeError: no such kernel in ..."),
        ("dies", "bad: died with exit code 3"),
    ],
)
def test_a_part_that_raises_or_dies_costs_no_other(planted, name, reason):
    sheets, said = planted(name, "fine")
    assert sheets[name].failures == [reason]
    assert sheets[name].complete
    assert sheets[name].parts["one"]["figure"] == sheets[name].parts["two"]["figure"] == 1.5
    assert sheets["fine"].complete
    assert f"{name}: FAILED: {reason}" in said
    assert said.count(f"{name}: planted, at most 8 s") == 1, "not only in the second pass"


def test_a_process_that_aborts_is_named_by_its_signal(planted):
    sheets, _ = planted("aborts")
    assert sheets["aborts"].failures == ["bad: died with signal SIGABRT"]
    assert ending(-1000) == "signal 1000"


def test_a_part_that_hangs_is_stopped_and_the_rest_has_what_time_is_left(planted):
    sheets, said = planted("hangs", "fine", limit=3.0)
    assert sheets["hangs"].failures == ["bad: did not end within 3 s"]
    assert list(sheets["hangs"].parts) == ["one", "bad", "two"], "the second pass"
    assert sheets["fine"].complete
    assert said.index("fine: planted, at most 3 s") < len(said) - 1


def test_what_cannot_begin_at_all_says_why_and_is_tried_again(planted):
    sheets, said = planted("missing")
    assert sheets["missing"].failures == ["ImportError: no library"]
    assert not sheets["missing"].complete
    assert said.count("missing: planted, at most 8 s") == 1
    _, said = planted("missing")
    assert said.count("missing: planted, at most 8 s") == 1


def test_what_is_there_is_not_repeated(planted, tmp_path):
    planted("fine")
    before = (tmp_path / "fine.json").stat().st_mtime_ns
    _, said = planted("fine")
    assert said == ["fine: is there already (--again fine repeats it)"]
    assert (tmp_path / "fine.json").stat().st_mtime_ns == before


def test_when_the_time_is_out_the_rest_is_passed_over(planted):
    sheets, said = planted("fine", seconds=0.1)
    assert sheets == {}
    assert said[0] == "fine: passed over, the time is out"


def test_an_interrupted_section_goes_on_after_its_last_result(planted, tmp_path):
    sheet = Sheet(tmp_path / "raises.json")
    sheet.note(planned=["one", "bad", "two"])
    sheet.begin("one")
    sheet.end({"figure": 7})
    sheet.begin("bad")  # and here the machine was switched off
    sheets, _ = planted("raises")
    assert sheets["raises"].parts["one"]["figure"] == 7
    assert sheets["raises"].complete


def test_no_part_begins_that_would_not_end_in_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("xpnet.bench.sections.time.monotonic", lambda: now[0])

    def slow():
        now[0] += 4.0
        return {}

    section = Section("slow", "", 10, lambda _: dict.fromkeys("abc", slow), list)
    said = []
    sheet = Sheet(tmp_path / "slow.json")
    assert work(section, sheet, None, 10, said.append) == DONE
    assert list(sheet.parts) == ["a", "b"]
    assert sheet.left == ["c"]
    assert not sheet.complete
    assert said[-1] == "slow: no time is left for c and what follows"


def test_a_rehearsal_and_a_record_are_not_mixed(tmp_path):
    Sheet(tmp_path / "a.json", rehearsal=True).note()
    assert "REHEARSAL" in (tmp_path / "a.json").read_text(encoding="utf-8")
    with pytest.raises(DataError, match="is of a rehearsal or this is one: name another folder"):
        Sheet(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["", "[]", '{"section": "b", "parts": {}}', '{"parts": 3}'])
def test_a_file_that_is_no_sheet_is_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="no sheet of results: remove it"):
        Sheet(path)


# ---- contestants in processes ------------------------------------------------------------------

WORKER = """
import os, sys, time
import numpy as np
from xpnet.bench import contestants
from xpnet.bench.remote import serve
from xpnet.errors import BackendError

name = sys.argv[1]

class Bad:
    def epoch(self):
        print("a library prints to stdout", flush=True)
        {"dies": lambda: os._exit(5), "hangs": lambda: time.sleep(60)}[name]()
    def parameters(self):
        return []

def build(workload, precision):
    if name == "refuses":
        raise BackendError(f"no {precision} here")
    if name == "forks":
        if not os.fork():
            time.sleep(8)
            os._exit(0)
        return Bad()
    if name in ("dies", "hangs"):
        return Bad()
    print("noise on stdout")
    return contestants.build(name, workload)

serve(build)
"""


@pytest.fixture
def troupe(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    with Troupe(lambda name: [sys.executable, str(script), name], patience=20.0) as troupe:
        yield troupe


TINY = workloads.scaled(workloads.WORKLOADS["tiny"], 0.01)


def test_workers_take_part_like_anybody_and_who_fails_is_a_row(troupe):
    names = ["textbook", "xpnet-numpy", "dies", "refuses"]
    troupe.prepare(names, [TINY], "tf32")
    outcomes = contest(
        TINY, names, rounds=2, epochs=2, judged=False, build=troupe.build, clock=troupe.clock
    )
    ours = {o.name: o for o in outcomes}
    assert [len(ours[name].rounds) for name in names[:2]] == [2, 2]
    assert all(t.wall > 0 for r in ours["textbook"].rounds for t in r)
    assert ours["dies"].failure == "its process died with exit code 5: a library prints to stdout"
    assert ours["refuses"].failure == "no tf32 here"
    assert {s.name for s in standings(TINY, outcomes) if s.later} == set(names[:2])


def test_a_worker_trains_what_it_would_train_here(troupe):
    troupe.prepare(["textbook"], [TINY], "fp32")
    here, there = contestants.build("textbook", TINY), troupe.build("textbook", TINY)
    for _ in range(2):
        here.epoch()
        there.epoch()
    for pair, other in zip(here.parameters(), there.parameters(), strict=True):
        for a, b in zip(pair, other, strict=True):
            assert np.array_equal(a, b)
    again = troupe.build("textbook", TINY)
    again.epoch()
    here.epoch()
    assert np.array_equal(again.parameters()[0][0], here.parameters()[0][0]), "it goes on"


def test_what_is_prepared_is_not_built_again_unless_somebody_trained_it(troupe):
    def told():
        """The commands of a preparation."""
        commands = []
        told_all, troupe.all_do = troupe.all_do, lambda *_, do, **__: commands.append(do)
        troupe.prepare(["textbook"], [TINY], "fp32")
        troupe.all_do = told_all
        return commands

    troupe.prepare(["textbook"], [TINY], "fp32")
    assert told() == []
    troupe.build("textbook", TINY)
    assert told() == ["forget", "build"]
    troupe.prepare(["textbook"], [TINY], "tf32")
    assert told() == ["forget", "build"], "in another precision it was another"


def test_a_worker_that_hangs_is_out_and_a_new_one_comes(troupe):
    troupe.patience = 5.0
    troupe.prepare(["hangs"], [TINY], "fp32")
    troupe.patience = 0.2
    with pytest.raises(XpnetError, match="no answer within 0 s"):
        troupe.build("hangs", TINY).epoch()
    with pytest.raises(XpnetError, match="no answer"):
        troupe.build("hangs", TINY)
    troupe.patience = 5.0
    troupe.prepare(["hangs"], [TINY], "fp32")
    assert troupe.build("hangs", TINY)


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_a_worker_is_ended_though_a_child_of_it_lives_on(troupe):
    """As those that compile for a library may, with every file of the worker open."""
    troupe.prepare(["forks"], [TINY], "fp32")
    worker = troupe.workers["forks"]
    worker.end()
    assert worker.process.poll() is not None
    assert worker.reader.is_alive(), "the child was not waited for"
    worker.reader.join()  # it closes the pipe


def test_parameters_of_large_networks_stay_where_they_are(troupe, monkeypatch):
    troupe.prepare(["textbook"], [TINY], "fp32")
    monkeypatch.setattr(Remote, "MOST_PARAMETERS", 3)
    assert Remote(troupe, "textbook", TINY).parameters()
    monkeypatch.setattr(Remote, "FEW_SAMPLES", 3)
    assert Remote(troupe, "textbook", TINY).parameters() == []


def test_the_bound_of_other_work_can_be_another():
    outcomes = [
        xpnet.bench.contest.Outcome("a", [[xpnet.bench.contest.Timing(1, 1)] * 2], deviation=0.1)
    ]
    assert "did other work" in standings(TINY, outcomes)[0].remark
    assert standings(TINY, outcomes, "wall", 0.25)[0].remark == ""
