"""YAML files: what YAML itself would pass over in silence, or fail on without a name, is told with file and line."""

import pytest

from blueprint.errors import UserError
from blueprint.yaml_file import read_yaml


@pytest.fixture
def written(tmp_path):
    def write(text, name="my.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


BOMB = "a: &a [0,0,0,0,0,0,0,0,0,0]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        pytest.param("max_cost_usd: 20\nmax_cost_usd: 200\n", "my.yaml:2:", "'max_cost_usd' stands twice", id="twice"),
        pytest.param("a:\n  - {b: 1, b: 2}\n", "my.yaml:2:", "'b' stands twice", id="twice inside a list"),
        pytest.param("a: [1, 2\nb: 3\n", "my.yaml:2:", "not valid YAML", id="syntax"),
        pytest.param("a: x\n\tb: 3\n", "my.yaml:2:", "not valid YAML", id="tab"),
        pytest.param("a: 1\n---\nb: 2\n", "my.yaml:2:", "not valid YAML", id="two documents"),
        pytest.param("a: !!python/name:os.system\n", "my.yaml:1:", "not valid YAML", id="Python object"),
        pytest.param("? [a]\n: 1\n", "my.yaml:1:", "not valid YAML", id="a list as key"),
        pytest.param("a: 2026-13-45\n", "my.yaml:", "not valid YAML", id="impossible date"),
        pytest.param("a: \x07\n", "my.yaml:", "not valid YAML", id="control character"),
        pytest.param(b"a: \xff\n", "my.yaml:", "not UTF-8", id="latin 1"),
        pytest.param("- a\n", "my.yaml:", "where keys with values are expected", id="list"),
        pytest.param("word", "my.yaml:", "where keys with values are expected", id="word"),
        pytest.param("a: &a [*a]\n", "my.yaml:1:", "stands for itself", id="itself"),
        pytest.param(BOMB, "my.yaml:", "more than 1,000,000 values", id="bomb"),
        pytest.param("a: " + "[" * 900 + "]" * 900, "my.yaml:", "hundreds deep", id="deep"),
    ],
)
def test_an_unusable_file_is_refused(written, text, place, said):
    with pytest.raises(UserError) as refusal:
        read_yaml(written(text))
    assert place in str(refusal.value) and said in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_every_repeated_key_is_told(written):
    with pytest.raises(UserError) as refusal:
        read_yaml(written("a: 1\nb: {c: 1, c: 2}\na: 2\n"))
    assert [line.split(" ")[0].rsplit("/", 1)[1] for line in str(refusal.value).splitlines()] == [
        "my.yaml:2:",
        "my.yaml:3:",
    ]


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        read_yaml(tmp_path / "none.yaml")


def test_an_alias_and_a_merged_mapping_are_no_repetition(written):
    document = read_yaml(written("base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nsame: *base\n"))
    assert document.values["other"] == {"a": 1, "b": 3}


def test_an_empty_file_holds_no_keys(written):
    assert read_yaml(written("# nothing\n")).values == {}


def test_later_files_replace_top_level_keys_and_every_value_knows_its_line(written):
    first, second = written("a: {b: 1}\nc: [5, 6]\n", "1.yaml"), written("\n\na: {d: 2}\n", "2.yaml")
    document = read_yaml(first, second)
    assert document.values == {"a": {"d": 2}, "c": [5, 6]}
    assert document.place(("a", "d"), 2) == f"{second}:3"
    assert document.place(("c", 1), 6) == f"{first}:2"
    assert document.place(("c", 1), 7) == f"{first}, {second}", "the command line has replaced this value"
    assert document.place(("e",), 7) == f"{first}, {second}"
