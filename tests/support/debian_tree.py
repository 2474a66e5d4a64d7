"""Runs a Dockerfile's steps in plain Debian trees, with root but without a container engine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from tests.support.paths import ROOT

# The packages that `python:…-slim` adds to Debian's slim image; Python is Debian's own here.
_PACKAGES = "ca-certificates,netbase,tzdata,python3-venv,python-is-python3"
# The machine's own settings of pip.
_NETWORK = ("PIP_COMPILE", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def why_not() -> str | None:
    """Return why no tree can be made here, or None if it can."""
    if os.geteuid() != 0:
        return "needs root, to change the root folder"
    missing = [name for name in ("mmdebstrap", "chroot", "unshare") if not shutil.which(name)]
    return f"needs {' and '.join(missing)}" if missing else None


def make_tree(release: str, archive: Path) -> None:
    """Write a minimal Debian with Python as a tar file.

    Args:
        release: Debian's code name.
        archive: The file to write.

    Raises:
        subprocess.CalledProcessError: The packages cannot be downloaded.
    """
    options = ["--mode=root", "--variant=minbase", f"--include={_PACKAGES}", "--dpkgopt=force-unsafe-io"]
    # A mirror may lag behind.
    dated = ["--aptopt=Acquire::Check-Valid-Until false"]
    command = ["mmdebstrap", "--quiet", *options, *dated, release, str(archive)]
    subprocess.run(command, check=True, capture_output=True, text=True)


class Image:
    """One stage of a build.

    Args:
        archive: The file that `make_tree` wrote.
        folder: An empty folder for the tree.
    """

    def __init__(self, archive: Path, folder: Path) -> None:
        self.folder, self.user, self.place = folder, "0:0", "/"
        folder.mkdir()
        subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
        if _AUTHORITIES.exists():
            shutil.copy(_AUTHORITIES, self._inside(str(_AUTHORITIES)))
        shutil.copy("/etc/resolv.conf", self._inside("/etc/resolv.conf"))
        self.variables = {name: os.environ[name] for name in _NETWORK if name in os.environ}
        self.variables |= {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", "LANG": "C.UTF-8"}
        # No telemetry, as in every test.
        self.variables |= {"RUNTIME__DLTHUB_TELEMETRY": "false"}

    def _inside(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def step(self, word: str, rest: str, stages: dict[str, Image]) -> None:
        """Run one instruction; those that only describe the image do nothing.

        Raises:
            subprocess.CalledProcessError: A `RUN` failed; its output is in the error.
        """
        if word == "ENV":
            given = (one.split("=", 1) for one in shlex.split(rest))
            self.variables |= {name: value.replace("$PATH", self.variables["PATH"]) for name, value in given}
        elif word == "WORKDIR":
            self.place = rest
            self._inside(rest).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            self.user = rest
        elif word == "COPY":
            self._copy(rest.split(), stages)
        elif word == "RUN":
            self.run(["sh", "-ec", rest]).check_returncode()

    def _copy(self, words: list[str], stages: dict[str, Image]) -> None:
        *names, target = [word for word in words if not word.startswith("--from=")]
        [stage] = [word.removeprefix("--from=") for word in words if word.startswith("--from=")] or [""]
        to = self._inside(target if target.startswith("/") else f"{self.place}/{target}")
        for name in names:
            source = stages[stage]._inside(name) if stage else ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns(*(["__pycache__"] if not stage else []))
                # Links are safe, because a stage does not change after another has copied from it.
                copy = os.link if stage else shutil.copy2
                shutil.copytree(source, to, True, ignored, copy, dirs_exist_ok=True)
            else:
                shutil.copy(source, to)

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command as the image's user, in its working folder, with only its variables."""
        # The mount is private, and ends with the process.
        proc = 'mount -t proc proc "$0/proc" && exec chroot --userspec="$1" "$0" sh -c "$2"'
        inside = f"cd {shlex.quote(self.place)} && exec {shlex.join(command)}"
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", proc, str(self.folder), self.user, inside],
            env=self.variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
