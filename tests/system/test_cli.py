"""Programs of several commands: each command is a function, named and described once."""

import pytest

from blueprint import cli


def count_gaussians(arguments):
    """Count the Gaussians of a scene."""
    print(f"{arguments.scene}: 3")


def program():
    commands = cli.Commands("Look at scenes.")
    commands.add(count_gaussians).add_argument("scene")
    return commands


def test_a_command_is_called_by_the_name_of_its_function(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["scenes", "count-gaussians", "hall.ply"])
    program().run()
    assert capsys.readouterr().out == "hall.ply: 3\n"


def test_help_says_what_every_command_does(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["scenes", "--help"])
    with pytest.raises(SystemExit, match="0"):
        program().run()
    shown = capsys.readouterr().out
    assert "Look at scenes." in shown and "Count the Gaussians of a scene." in shown


@pytest.mark.parametrize("command", [[], ["weigh"]])
def test_without_a_command_or_with_an_unknown_one_it_ends(monkeypatch, capsys, command):
    monkeypatch.setattr("sys.argv", ["scenes", *command])
    with pytest.raises(SystemExit, match="2"):
        program().run()
    assert "count-gaussians" in capsys.readouterr().err
