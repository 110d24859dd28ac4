"""What a change of code makes again: what is computed with it, and nothing else."""

import os
import re
from functools import cache, partial
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

from blueprint.digest import SCRIPTS, closure, program_digest
from blueprint.engines import ENGINES
from blueprint.errors import UserError
from blueprint.metrics import catalogue
from small_runs import small_config
from workflow_runs import REPOSITORY, copy_checkout, planned_jobs, snakemake

PACKAGE = SCRIPTS / "blueprint"
MODULES = sorted(path.relative_to(SCRIPTS).as_posix() for path in PACKAGE.rglob("*.py"))
# Their product is no result but the finding that a machine can make results; a newer check makes no result again.
WITHOUT_DIGEST = {"environment", "fetch_weights"}
# What the job of a rule is told to load, and the register that lists it.
ENGINE = ENGINES[small_config()["enrich"]["engine"]].module
LOADS = {"enrich": (ENGINE, "blueprint.engines")}


@cache
def programs() -> dict[str, str]:
    """The program of every rule that has an output."""
    found = {}
    for path in sorted((REPOSITORY / "rules").glob("*.smk")):
        for name, body in re.findall(r"^rule (\w+):\n((?:[ \t].*\n|\n)+)", path.read_text(), re.MULTILINE):
            if "    output:\n" in body:
                found[name] = re.search(r"\$BLUEPRINT_SCRIPTS/(\w+)\.py", body)[1]
    return found


def digested_rules():
    """The rules whose products depend on code: each with what `program_digest` is asked."""
    return {rule: (program, *LOADS.get(rule, ())) for rule, program in programs().items() if rule not in WITHOUT_DIGEST}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The files that each program imports, as Python's own finder sees them in byte code. Another way to the answer."""
    scripts = tmp_path_factory.mktemp("reference") / "scripts"
    for path in SCRIPTS.rglob("*.py"):
        target = scripts / path.relative_to(SCRIPTS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text().replace("if TYPE_CHECKING:", "if False:"))  # which compiles to nothing

    @cache
    def files(program: str, loads: str = "", register: str = "") -> frozenset[str]:
        finder = ModuleFinder(path=[str(scripts)])
        if register:
            listed = scripts.joinpath(*register.split("."), "__init__.py")
            text = listed.read_text()
            listed.write_text("")  # it lists nothing
            found = files.__wrapped__(program, loads)
            listed.write_text(text)
            return found - {listed.relative_to(scripts).as_posix()}
        finder.run_script(str(scripts / f"{program}.py"))
        if loads:
            finder.import_hook(loads)
        while True:
            found = [Path(module.__file__) for module in finder.modules.values() if module.__file__]
            names = {name for path in found for name in re.findall(r'"(blueprint\.[\w.]+)(?::\w+)?"', path.read_text())}
            there = {name for name in names if scripts.joinpath(*name.split(".")).with_suffix(".py").exists()}
            if there <= set(finder.modules):
                return frozenset(path.relative_to(scripts).as_posix() for path in found)
            for name in there:
                finder.import_hook(name)

    return files


@pytest.mark.parametrize("rule", sorted(digested_rules()))
def test_every_rule_digests_the_program_that_it_runs(rule):
    [text] = [path.read_text() for path in (REPOSITORY / "rules").glob("*.smk") if f"rule {rule}:" in path.read_text()]
    body = text[text.index(f"rule {rule}:") :]
    assert f'program_digest("{programs()[rule]}"' in body[: body.index("    shell:")]


@pytest.mark.parametrize("program", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_the_closure_is_what_python_finds(program, reference):
    sources = {path.relative_to(SCRIPTS).as_posix() for path in closure(program) if path.suffix == ".py"}
    assert sources == reference(program)


def test_a_module_that_uses_files_beside_it_declares_them():
    """So that a template cannot be forgotten. What asks git about its own checkout opens no file."""
    for job in digested_rules().values():
        for path in closure(*job):
            text = path.read_text() if path.suffix == ".py" else ""
            if "__file__" in text and path.name not in ("provenance.py", "digest.py", "system.py"):
                assert "\nDATA_FILES = " in text, path


def test_each_module_decides_the_programs_that_import_it_and_no_other(tmp_path, reference):
    """For every module of the package: changed alone, it changes the digests of these rules and leaves the others."""
    scripts = copy_checkout(tmp_path) / "workflow" / "scripts"
    rules = digested_rules()
    before = {rule: program_digest(*job, scripts=scripts) for rule, job in rules.items()}
    assert before == {rule: program_digest(*job) for rule, job in rules.items()}, (
        "a fresh clone, newer than the original"
    )
    for module in MODULES:
        path = scripts / module
        text = path.read_text()
        path.write_text(f"{text}\n# changed\n")
        changed = {rule for rule, job in rules.items() if program_digest(*job, scripts=scripts) != before[rule]}
        assert changed == {rule for rule, job in rules.items() if module in reference(*job)}, module
        path.write_text(text)


def rules_below(graph: str, rules: set[str]) -> set[str]:
    """The rules and all that need them, by Graphviz text of the rules."""
    label = dict(re.findall(r'(\d+)\[label = "(\w+)', graph))
    edges = [(label[a], label[b]) for a, b in re.findall(r"(\d+) -> (\d+)", graph)]
    found = set(rules)
    while more := {b for a, b in edges if a in found} - found:
        found |= more
    return found


@pytest.fixture
def clone(tmp_path):
    return copy_checkout(tmp_path / "clone")


def test_a_fresh_clone_makes_nothing_again(run, clone):
    assert "Nothing to be done" in snakemake(run, run / "config.yaml", "--dry-run", repository=clone).stdout


@pytest.mark.parametrize(
    "changed",
    ["workflow/scripts/blueprint/depth.py", "workflow/scripts/blueprint/report/templates/report.css", "README.md"],
)
def test_a_change_makes_again_what_is_made_with_it(finished_run, clone, changed, reference):
    check_change(finished_run, clone, changed, reference)


def check_change(finished_run, clone, changed, reference):
    """Change one file, ask Snakemake what it would run, and put the file back."""
    config = finished_run / "config.yaml"
    graph = snakemake(finished_run, config, "--rulegraph", repository=clone).stdout
    path = clone / changed
    before = path.read_bytes() if path.exists() else b""
    path.write_bytes(before + b"\n")
    planned = set(planned_jobs(snakemake(finished_run, config, "--dry-run", repository=clone)))
    path.write_bytes(before)
    module = changed.removeprefix("workflow/scripts/")
    asked = "blueprint/report/page.py" if "/templates/" in changed else module
    uses = {rule for rule, job in digested_rules().items() if asked in reference(*job)}
    in_this_run = set(re.findall(r'label = "(\w+)', graph))
    assert planned == rules_below(graph, uses & in_this_run), changed


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_each_module_makes_again_what_is_made_with_it(finished_run, clone, module, reference):
    check_change(finished_run, clone, f"workflow/scripts/{module}", reference)


@pytest.fixture
def toy(tmp_path):
    """A program beside a package `blueprint` of its own."""
    files = {
        "program.py": "from blueprint import near\n",
        "blueprint/__init__.py": "",
        "blueprint/near.py": "from .pairs import shop\ndef later():\n    import blueprint.late\n",
        "blueprint/late.py": "PARTS = ('blueprint.named:part',)\n'no blueprint.unrelated name'\n",
        "blueprint/named.py": (
            "DATA_FILES = ('texts',)\nif TYPE_CHECKING:\n    import blueprint.unrelated\nelse:\n    import json\n"
        ),
        "blueprint/texts/a.txt": "a",
        "blueprint/unrelated.py": "",
        "blueprint/pairs/__init__.py": "",
        "blueprint/pairs/shop/__init__.py": "from ..shop import one, two\nfrom .common import base",
        "blueprint/pairs/shop/common.py": "",
        "blueprint/pairs/shop/one/__init__.py": "",
        "blueprint/pairs/shop/one/made.py": "import blueprint.unrelated",
        "blueprint/pairs/shop/two/__init__.py": "import blueprint.late",
    }
    files["blueprint/pairs/shop/__init__.py"] = (
        "from blueprint.pairs.shop import one, two\nfrom blueprint.pairs.shop.common import base\n"
    )
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def names(paths, toy):
    return {path.relative_to(toy).as_posix().removeprefix("blueprint/") for path in paths}


def test_lazy_relative_and_named_modules_and_data_files_count(toy):
    shop = {"pairs/__init__.py", "pairs/shop/__init__.py", "pairs/shop/common.py"}
    pairs = {"pairs/shop/one/__init__.py", "pairs/shop/two/__init__.py"}
    near = {"program.py", "__init__.py", "near.py", "late.py", "named.py", "texts/a.txt"}
    assert names(closure("program", scripts=toy), toy) == shop | pairs | near


def test_of_what_a_register_lists_the_loaded_module_counts_alone(toy):
    loaded = ("blueprint.pairs.shop.one.made", "blueprint.pairs.shop")
    found = names(closure("program", *loaded, toy), toy)
    assert {"pairs/shop/one/__init__.py", "pairs/shop/one/made.py", "unrelated.py"} <= found
    assert not {"pairs/shop/two/__init__.py", "pairs/shop/__init__.py"} & found
    before = program_digest("program", *loaded, toy)
    (toy / "blueprint/pairs/shop/two/__init__.py").write_text("changed = True")
    (toy / "blueprint/pairs/shop/__init__.py").write_text("from blueprint.pairs.shop import one, two, three\n")
    assert program_digest("program", *loaded, toy) == before
    (toy / "blueprint/pairs/shop/one/made.py").write_text("changed = True")
    assert program_digest("program", *loaded, toy) != before


def test_a_module_can_be_the_register(toy):
    loaded = ("blueprint.named", "blueprint.late")
    found = names(closure("program", *loaded, toy), toy)
    assert {"named.py", "texts/a.txt", "near.py"} <= found and "late.py" not in found


def test_one_more_score_and_a_change_of_one_leave_the_others(tmp_path, monkeypatch):
    scripts = copy_checkout(tmp_path) / "workflow" / "scripts"
    monkeypatch.setattr(catalogue, "program_digest", partial(program_digest, scripts=scripts))
    before = catalogue.code_digests(list(catalogue.METRICS))
    for module in ("catalogue.py", "stability.py"):
        path = scripts / "blueprint" / "metrics" / module
        path.write_text(path.read_text() + "# changed\n")
    after = catalogue.code_digests(list(catalogue.METRICS))
    changed = {name for name in before if before[name] != after[name]}
    assert "temporal_stability" in changed
    assert not changed & {
        "psnr",
        "ssim",
        "lpips",
        "edge_agreement",
        "depth_edge_agreement",
        "misalignment",
        "sharpness",
    }


def test_times_play_no_part_and_every_byte_of_data_does(toy):
    before = program_digest("program", scripts=toy)
    for path in toy.rglob("*.*"):
        os.utime(path, (0, 0))
    assert program_digest("program", scripts=toy) == before
    (toy / "blueprint/texts/a.txt").write_text("b")
    assert program_digest("program", scripts=toy) != before


@pytest.mark.parametrize("absent", ["program.py", "blueprint/texts/a.txt"])
def test_what_is_not_there_is_said(toy, absent):
    (toy / absent).unlink()
    with pytest.raises(UserError, match="there is no such"):
        program_digest("program", scripts=toy)


@pytest.mark.parametrize("absent", ["blueprint.pairs.shop.three", "blueprint.pairs.shop.one.unmade", "elsewhere"])
def test_a_module_to_load_that_is_not_there_is_said(toy, absent):
    with pytest.raises(UserError, match=f"{absent}: there is no such module"):
        program_digest("program", absent, scripts=toy)
