"""One run of atheris on one target, in a process of its own: `fuzz_all` and the tests start it.

    python tests/fuzz/fuzz_child.py TARGET WORK_FOLDER CORPUS_FOLDER [libFuzzer's flags]

New inputs go to WORK_FOLDER/found, a finding to WORK_FOLDER, nothing to anywhere else.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path


def main() -> None:
    import atheris

    name, work, corpus, *flags = sys.argv[1:]
    here = str(Path(__file__).resolve().parent)
    if here not in sys.path:
        sys.path.insert(0, here)
    from targets import TARGETS

    target = TARGETS[name]
    folders = [os.path.join(work, "found"), corpus]
    with atheris.instrument_imports(include=["leulo"], enable_loader_override=False):
        for module in target.modules:
            importlib.import_module(module)
    os.makedirs(os.path.join(work, "found"), exist_ok=True)
    atheris.Setup(
        [sys.argv[0], *folders, f"-artifact_prefix={work}/finding-",
         f"-max_len={target.most_bytes}", "-rss_limit_mb=2048", "-timeout=60", *flags],
        target.run,
        enable_python_coverage=True,
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
