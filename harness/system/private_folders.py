"""Name the environment variables that decide where a program keeps its files, and point them into one folder."""

from __future__ import annotations

from pathlib import Path

#: The variables that give folders for a user's files, and the subfolders to which these variables are set.
PRIVATE = {
    "HOME": "",
    "TMPDIR": "tmp",
    "TMP": "tmp",
    "TEMP": "tmp",
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "data",
    "XDG_STATE_HOME": "state",
}
#: Variables whose names have one of these endings, such as TORCHINDUCTOR_CACHE_DIR, give folders of caches. Without
#: these variables, programs keep their caches in the folders of `PRIVATE`.
_CACHES = ("_CACHE", "_CACHE_DIR", "_CACHE_HOME", "_CACHE_PATH")
#: Further variables that give folders of a user, or addresses of connections.
_SHARED = frozenset(
    {
        "DBUS_SESSION_BUS_ADDRESS",
        "HF_HOME",
        "IPYTHONDIR",
        "JOBLIB_TEMP_FOLDER",
        "JUPYTER_CONFIG_DIR",
        "KERAS_HOME",
        "MPLCONFIGDIR",
        "NLTK_DATA",
        "PYTHONPYCACHEPREFIX",
        "SCIKIT_LEARN_DATA",
        "SSH_AUTH_SOCK",
        "TORCH_EXTENSIONS_DIR",
        "TORCH_HOME",
        "TRITON_HOME",
        "WANDB_DIR",
        "XDG_RUNTIME_DIR",
    }
)


def private_variables(folder: Path) -> dict[str, str]:
    """Return the variables that make a folder the home, with subfolders for caches and temporary files."""
    return {name: str(folder / subfolder) for name, subfolder in PRIVATE.items()}


def is_shared(variable: str) -> bool:
    """Return whether a variable leads to files or connections that several runs of a user share.

    >>> is_shared("TORCHINDUCTOR_CACHE_DIR"), is_shared("MPLCONFIGDIR"), is_shared("OMP_NUM_THREADS")
    (True, True, False)
    """
    return variable in _SHARED or variable.endswith(_CACHES)


def make_folders(folder: Path) -> None:
    """Create the folders of `private_variables`, which only this user may enter.

    Raises:
        OSError: a folder cannot be created.
    """
    folder.mkdir(mode=0o700, parents=True)
    for subfolder in sorted(set(PRIVATE.values()) - {""}):
        (folder / subfolder).mkdir(mode=0o700)
