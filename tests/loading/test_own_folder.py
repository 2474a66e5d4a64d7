"""Only the user can read and write the pipeline's own folder; other files follow the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from letta_source.demo import Server
from letta_source.errors import ConfigError
from letta_source.export.output import part_of, written_whole
from letta_source.loading import own_folder
from letta_source.loading.own_folder import assert_loadable_path, close_to_others, make_own_folder
from tests.support.command import Command
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="has no owners and modes of this kind")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.whole
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077], indirect=True, ids=oct)
def test_permissions_do_not_depend_on_the_umask(letta_source: Command, server: Server, umask: int) -> None:
    assert letta_source.load(server).code == 0
    own = letta_source.folder / "dlt" / "pipelines"
    found = [path for path in own.rglob("*") if not path.is_symlink()]
    assert len(found) > 10
    assert {mode(path) for path in found if path.is_dir()} == {0o700}
    assert {mode(path) for path in found if path.is_file()} == {0o600}
    assert mode(letta_source.folder / "letta_db.duckdb") == 0o666 & ~umask
    assert letta_source("export", "agents", "--output", "a.csv").code == 0
    assert mode(Path("a.csv")) == 0o666 & ~umask


@pytest.mark.parametrize("umask", [0o022], indirect=True)
def test_a_replaced_file_gets_no_wider_permissions(tmp_path: Path, umask: int) -> None:
    for before, after in ((0o600, 0o600), (0o640, 0o640), (0o666, 0o644), (0o755, 0o644), (0o400, 0o400)):
        file = tmp_path / oct(before)
        file.write_text("old")
        file.chmod(before)
        with written_whole(file) as out:
            assert mode(part_of(file)) == after
            out.write(b"new")
        assert (mode(file), file.read_text()) == (after, "new")


def test_a_planted_temporary_file_is_not_written_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    file = tmp_path / "out.csv"
    part_of(file).symlink_to(victim)
    with written_whole(file) as out:
        out.write(b"new")
    assert (victim.read_text(), file.read_text(), file.is_symlink()) == ("mine", "new", False)
    part_of(file).mkdir()
    with pytest.raises(ConfigError, match="cannot be written"), written_whole(file):
        pass


def test_a_link_of_another_user_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, link = tmp_path / "victim", tmp_path / "report.html"
    victim.write_text("mine")
    link.symlink_to(victim)
    monkeypatch.setattr("letta_source.export.output._is_own", lambda state: not stat.S_ISLNK(state.st_mode))
    with pytest.raises(ConfigError, match="is a link of another user"), written_whole(link):
        pass
    assert victim.read_text() == "mine"


def test_missing_parent_folders_are_created(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "pipelines" / "letta"
    make_own_folder(folder)
    assert [mode(path) for path in (folder, *list(folder.parents)[:2])] == [0o700] * 3
    folder.chmod(0o755)
    make_own_folder(folder)
    assert mode(folder) == 0o700


def test_permissions_behind_links_are_not_changed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o666)
    folder = tmp_path / "own"
    folder.mkdir(mode=0o777)
    (folder / "link").symlink_to(outside)
    close_to_others(folder)
    assert mode(outside) == 0o666


@pytest.mark.parametrize("which", ["letta", "pipelines", "data"])
@pytest.mark.parametrize(
    ("permissions", "is_refused"),
    [
        (0o777, True),
        (0o757, True),
        (0o1777, False),
        (0o775, False),
        (0o770, False),
        (0o2775, False),
        (0o755, False),
    ],
)
def test_folders_that_everybody_can_write_to_are_refused(
    tmp_path: Path, which: str, permissions: int, is_refused: bool
) -> None:
    folder = tmp_path / "data" / "pipelines" / "letta"
    make_own_folder(folder)
    (tmp_path / "data" / {"letta": "pipelines/letta", "pipelines": "pipelines", "data": ""}[which]).chmod(
        permissions
    )
    if is_refused:
        with pytest.raises(ConfigError, match=r"everybody can write to .*set DLT_DATA_DIR .*, or chmod o-w"):
            make_own_folder(folder)
    else:
        make_own_folder(folder)
        assert mode(folder) == 0o700


@pytest.mark.parametrize(
    ("owners", "why"),
    [
        ({"letta": 4711}, "letta belongs to another user, who could use it to run SQL"),
        ({"data": 4711}, "data, in .*, belongs to another user"),
        ({"pipelines": 4711}, None),
        ({"letta": 0}, None),
    ],
)
def test_folders_of_other_users_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owners: dict[str, int], why: str | None
) -> None:
    """In a folder such as /tmp, the owner of a folder can replace what is below it."""
    tmp_path.chmod(0o1777)
    folder = tmp_path / "data" / "pipelines" / "letta"
    make_own_folder(folder)
    trusted = own_folder._is_trusted
    monkeypatch.setattr(
        own_folder, "_is_trusted", lambda path: owners.get(path.name, 0) == 0 and trusted(path)
    )
    if why:
        with pytest.raises(ConfigError, match=why):
            make_own_folder(folder)
    else:
        make_own_folder(folder)


def test_another_users_link_to_our_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pipelines" / "letta"
    make_own_folder(tmp_path / "elsewhere")
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    make_own_folder(folder)
    monkeypatch.setattr(own_folder, "_is_trusted", lambda path: not path.is_symlink())
    with pytest.raises(ConfigError, match="belongs to another user"):
        make_own_folder(folder)


def test_an_unmapped_user_owns_only_folders_created_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `unshare --user`, for instance, all unmapped users are `nobody`, including this one."""
    (tmp_path / "map").write_text("")
    monkeypatch.setattr(own_folder, "_UID_MAP", tmp_path / "map")
    folder = tmp_path / "pipelines" / "letta"
    make_own_folder(folder)
    with pytest.raises(ConfigError, match="belongs to another user"):
        make_own_folder(folder)
    (tmp_path / "map").write_text(f"         {os.geteuid()}          0          1\n")
    make_own_folder(folder)


def test_the_volume_of_the_shipped_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes creates an emptyDir with 0777; with fsGroup it also sets that group and the setgid bit."""
    job = yaml.safe_load((ROOT / "pipelines" / "kubernetes_job.yaml").read_text("utf-8"))
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environ = {each["name"]: each.get("value") for each in container["env"]}
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert pod["securityContext"]["fsGroup"]
    assert volumes[mounts[container["workingDir"]]]["emptyDir"] == {}
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o2777)
    os.chown(work, -1, os.getegid())
    data = work / Path(environ["DLT_DATA_DIR"]).relative_to(container["workingDir"])
    for _ in range(2):
        make_own_folder(data / "pipelines" / "letta_0")
    # Without fsGroup the mount is open to all users, which within a pod is only the pod.
    work.chmod(0o777)
    with pytest.raises(ConfigError, match="everybody"):
        make_own_folder(data / "pipelines" / "letta_0")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(Path, "is_mount", lambda path: path == work)
    make_own_folder(data / "pipelines" / "letta_0")


def test_a_load_is_refused_before_any_row_moves(letta_source: Command, server: Server) -> None:
    pipelines = letta_source.folder / "dlt" / "pipelines"
    pipelines.mkdir(parents=True)
    pipelines.chmod(0o777)
    said = letta_source.load(server)
    assert said.code == 2
    assert f"everybody can write to {pipelines}" in said.err
    assert not (letta_source.folder / "letta_db.duckdb").exists() or not list(pipelines.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("folder", "destination"),
    [
        ("/home/o'neill/pipelines", "duckdb"),
        ("/home/o'neill/pipelines", "dlt.destinations.motherduck"),
        ("/data/100%/pipelines", "duckdb"),
        ("/data/my%20data/pipelines", "postgres"),
    ],
)
def test_paths_that_dlt_misinterprets_are_refused(folder: str, destination: str) -> None:
    """dlt would fail after everything is read, with `unsupported format character` or a parser's error."""
    with pytest.raises(ConfigError, match="set DLT_DATA_DIR"):
        assert_loadable_path(Path(folder), destination)


@pytest.mark.parametrize(
    ("folder", "destination"),
    [("/home/o'neill/pipelines", "postgres"), ("/home/my data ü/[1]*{x}?/#;$", "duckdb")],
)
def test_other_paths_are_accepted(folder: str, destination: str) -> None:
    assert_loadable_path(Path(folder), destination)
