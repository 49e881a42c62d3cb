"""The Dockerfile names what exists, and the image runs as nobody in particular."""

import re
import tomllib
from configparser import ConfigParser

from tests.deploy.stack_files import ROOT, compose, instructions


def values(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def copied_from_the_tree() -> list[str]:
    """The sources of every COPY that is not from another stage."""
    return [source for rest in values("COPY") if not rest.startswith("--from=") for source in rest.split()[:-1]]


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    """The list of what Docker may see is exactly what is copied."""
    sources = copied_from_the_tree()
    assert all((ROOT / source).exists() for source in sources)
    rules = [
        line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")
    ]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == {source.split("/")[0] for source in sources}


def test_the_build_has_every_file_that_the_package_is_made_of() -> None:
    """What setup.cfg and pyproject.toml name must be copied before pip runs."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = {setup["metadata"]["long_description"].removeprefix("file: "), setup["metadata"]["license_files"]}
    assert setup["metadata"]["version"] == "attr: gateway.__version__"
    before_pip = instructions()[: next(i for i, (_, rest) in enumerate(instructions()) if "pip install" in rest)]
    copied = {source for word, rest in before_pip if word == "COPY" for source in rest.split()[:-1]}
    assert {*named, "setup.cfg", "pyproject.toml", "gateway/__init__.py"} <= copied
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]


def test_both_stages_have_the_same_python() -> None:
    """Pinned to a patch release that the package supports."""
    images = [rest.split()[0] for rest in values("FROM")]
    assert len(images) == 2
    assert len(set(images)) == 1
    found = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-bookworm", images[0])
    assert found is not None
    assert f"Programming Language :: Python :: {found[1]}" in (ROOT / "setup.cfg").read_text("utf-8")


def test_it_runs_as_a_user_without_rights() -> None:
    """By number, so that Kubernetes too can see that it is not root; what it may write to is its own."""
    (user,) = values("USER")
    uid, gid = user.split(":")
    assert int(uid) >= 10_000
    (made,) = (rest for rest in values("RUN") if "useradd" in rest)
    assert f"groupadd --gid {gid} " in made
    assert f"useradd --uid {uid} --gid {gid} " in made
    (folder,) = re.findall(rf"install -d -o {uid} -g {gid} (\S+)", made)
    assert f"gateway-data:{folder}" in compose()["services"]["gateway"]["volumes"]
    assert values("WORKDIR")[-1] == folder.rsplit("/", 1)[0]
    words = [word for word, _ in instructions()]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word in {"RUN", "COPY"})


def test_it_starts_the_command_that_is_installed() -> None:
    """By exec, so that SIGTERM reaches the gateway and not a shell."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (script,) = (
        line.split("=")[0].strip() for line in setup["options.entry_points"]["console_scripts"].split("\n")[1:]
    )
    assert values("ENTRYPOINT") == [f'["{script}"]']
    assert values("CMD") == ['["serve"]']
    assert values("STOPSIGNAL") == ["SIGTERM"]


def test_its_own_check_is_that_of_the_stack() -> None:
    """So that `docker run` alone knows too whether it is ready, on the port that it exposes."""
    (check,) = values("HEALTHCHECK")
    service = compose()["services"]["gateway"]["healthcheck"]["test"]
    assert service[-1] in check
    assert f":{values('EXPOSE')[0]}/health/ready" in check
