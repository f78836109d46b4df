"""What a checkout needs around it: Python packages into this environment, tools of the system.

    python tools/environment.py --install        packages of pyproject.toml, and Leulo itself
    python tools/environment.py --tools test     programs the tests use: installed, or named
    python tools/environment.py --tools bench    those the benchmark cannot do without

Packages come through pip. Programs come through apt-get where this is root on a Debian; elsewhere
the command to type is printed. Exit code 5 if something indispensable is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXIT_ENVIRONMENT = 5
# An archive that does not answer is given up soon.
PATIENCE = ("-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1")

# program -> Debian package
PROGRAMS = {
    "test": {
        "ip": "iproute2",
        "curl": "curl",
        "ping": "iputils-ping",
        "tshark": "tshark",
        "tcptrace": "tcptrace",
        "wrk": "wrk",
        "ab": "apache2-utils",
        "nmap": "nmap",
        "hping3": "hping3",
        "iperf3": "iperf3",
        "ssh": "openssh-client",
        "sshd": "openssh-server",
        "cpio": "cpio",
        "gcc": "gcc",
        "zsh": "zsh",
        "fish": "fish",
        "objdump": "binutils",
        "qemu-system-i386": "qemu-system-x86",
        "bochs-bin": "bochs-term",
    },
    "bench": {"ip": "iproute2", "nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"},
}


def install() -> int:
    """Install the build requirements, then Leulo itself in editable mode with its dev extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    print("leulo: installing Python packages (the compiler is 100 MB)", file=sys.stderr)
    # The build requirements go into this environment and not into pip's isolated one, which
    # would unpack the compiler's 400 MB a second time.
    for command in (
        [*pip, *project["build-system"]["requires"], "editables"],
        [*pip, "--no-build-isolation", "--editable", f"{ROOT}[dev]"],
    ):
        if subprocess.run(command, check=False).returncode != 0:
            print("leulo: pip could not install what Leulo needs (see above)", file=sys.stderr)
            return EXIT_ENVIRONMENT
    fuzzer = project["project"]["optional-dependencies"]["fuzz"]
    if subprocess.run([*pip, "--only-binary=:all:", *fuzzer], check=False).returncode != 0:
        print(f"leulo: no {fuzzer[0]} for this Python: its tests are skipped", file=sys.stderr)
    return 0


def provide_tools(purpose: str) -> int:
    """Install the programs of ``purpose`` that are missing, or say how."""
    wanted = PROGRAMS[purpose]
    missing = [program for program in wanted if _where(program) is None]
    if not missing:
        return 0
    packages = list(dict.fromkeys(wanted[program] for program in missing))
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"leulo: installing {' '.join(packages)}", file=sys.stderr)
        if apt_get(["install", "-y", "-qq", *packages]) != 0 and apt_get(["update", "-qq"]) == 0:
            apt_get(["install", "-y", "-qq", *packages])
        missing = [program for program in wanted if _where(program) is None]
    if not missing:
        return 0
    packages = list(dict.fromkeys(wanted[program] for program in missing))
    print(
        f"leulo: {', '.join(missing)} not found. On Debian or Ubuntu:\n"
        f"    sudo apt-get install {' '.join(packages)}",
        file=sys.stderr,
    )
    if purpose == "bench":
        return EXIT_ENVIRONMENT
    print("leulo: the tests that need them are skipped", file=sys.stderr)
    return 0


def _where(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def apt_get(arguments: list[str]) -> int:
    """Run apt-get quietly as root; its exit code."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # No recommended packages, and no service that starts by itself and takes port 80.
    command = ["apt-get", *PATIENCE, *arguments]
    if arguments[0] == "install":
        command.append("--no-install-recommends")
        environment["RUNLEVEL"] = "1"
    return subprocess.run(
        command, env=environment, stdout=subprocess.DEVNULL, check=False
    ).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="what a checkout needs around it")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--install", action="store_true", help="the Python packages")
    group.add_argument("--tools", choices=sorted(PROGRAMS), help="the programs of a purpose")
    arguments = parser.parse_args()
    return install() if arguments.install else provide_tools(arguments.tools)


if __name__ == "__main__":
    sys.exit(main())
