"""The shell completes commands, options and names, and does not wait for torch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hardfirst import __version__
from hardfirst.balancers import BALANCERS
from hardfirst.cli import _completion
from hardfirst.networks import NETWORKS
from hardfirst.problems import FIELDS, PROBLEMS

# what `hardfirst` does, with the shell named, which is else looked up among the parent processes
RUN = """
import sys
from hardfirst.cli import main
try:
    main()
finally:
    assert not {"torch", "lightning", "numpy"} & sys.modules.keys()
"""
ENVIRONMENT = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


@pytest.fixture
def command(tmp_path: Path) -> Path:
    file = tmp_path / "hardfirst"
    file.write_text(f"#!{sys.executable}\n{RUN}")
    file.chmod(0o755)
    return file


def output(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(command), capture_output=True, text=True, check=False, env={**ENVIRONMENT, **environment}, timeout=60
    )
    assert "Error" not in done.stderr, done.stderr
    return done.stdout


def test_names_are_those_of_the_registries() -> None:
    assert _completion.balancers() == sorted(BALANCERS)
    assert _completion.networks() == sorted(NETWORKS)
    assert _completion.problems() == sorted([*PROBLEMS, *FIELDS])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("hardfirst comp", ["compare"]),
        ("hardfirst sea", ["search"]),
        ("hardfirst study ", ["losses", "order"]),
        ("hardfirst search digits --candidates dtp:uniform=0.8,gradn", ["dtp:uniform=0.8,gradnorm"]),
        ("hardfirst compare opt", ["optical"]),
        ("hardfirst compare digits mnist_fashion:", ["mnist_fashion:apart", "mnist_fashion:crowded"]),
        ("hardfirst compare digits --balancers equal,im", ["equal,imtl_g", "equal,imtl_l"]),
        ("hardfirst compare digits --networks o", ["own"]),
        ("hardfirst train digits --network m", ["mmoe", "mtan"]),
        ("hardfirst train digits --balancer dtp", ["dtp", "dtp_paper"]),
        ("hardfirst train digits --dev", ["--devices"]),
        ("hardfirst study losses mnist_fashion:", ["mnist_fashion:apart", "mnist_fashion:crowded"]),
        ("hardfirst list netw", ["networks"]),
        ("hardfirst list networks ub", ["ubernet"]),
        ("hardfirst list optimizers ad", ["adam", "adamw"]),
        ("hardfirst list schedules st", ["step"]),
        ("hardfirst list problems di", ["digits"]),
        ("hardfirst data op", ["optical"]),
    ],
)
def test_what_is_offered(command: Path, words: str, expected: list[str]) -> None:
    typed = {"_HARDFIRST_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert output(command, **typed).split() == expected


@pytest.mark.parametrize(("option", "expected"), [("--version", __version__), ("--help", "--install-completion")])
def test_the_version_and_help_need_no_torch(command: Path, option: str, expected: str) -> None:
    printed = output(command, option)
    assert expected in printed
    assert option == "--help" or printed == f"{expected}\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_after_what_show_completion_prints(command: Path) -> None:
    script = f"""
        PATH={command.parent}:$PATH
        eval "$(hardfirst --show-completion bash)"
        COMP_WORDS=(hardfirst train digits --balancer pcg) COMP_CWORD=4
        _hardfirst_completion hardfirst
        echo "${{COMPREPLY[@]}}"
        complete -p hardfirst
    """
    completed, registered = output("bash", "--norc", "-c", script).splitlines()
    assert completed == "pcgrad"
    assert "-F _hardfirst_completion" in registered


def test_it_installs_itself_for_bash(command: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert "bash completion installed" in output(command, "--install-completion", "bash", HOME=str(home))
    (installed,) = (home / ".bash_completions").iterdir()
    assert "_HARDFIRST_COMPLETE=complete_bash" in installed.read_text()
    assert str(installed) in (home / ".bashrc").read_text()
