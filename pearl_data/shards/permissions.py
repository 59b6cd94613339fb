"""Files that other libraries write can be read by whom the umask says, as those we write."""

from __future__ import annotations

import tempfile
from pathlib import Path


def obey_umask(folder: Path) -> None:
    """Give every file below ``folder`` the mode that a new file has there.

    The safetensors library writes files that only their owner may read, so that weights on a shared
    disk, alone of all that a run writes, are closed to everybody else.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".mode-") as place:
        # asking os.umask() would set it for all threads; a file tells without
        probe = Path(place) / "probe"
        probe.touch()
        mode = probe.stat().st_mode & 0o777
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
