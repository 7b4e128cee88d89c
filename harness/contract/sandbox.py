"""What a worker's sandbox permits, and the names of sandboxes in records."""

from __future__ import annotations

import re

from harness.contract.base import Data

#: The value of a record's field `sandbox` for a run without a sandbox. In records from before this field existed, the
#: value is empty.
NO_SANDBOX = "none"
_NAMESPACES = "namespaces"
_OPEN_NETWORK = " (network open)"
_LANDLOCK = re.compile(r"landlock-abi(\d+)")


class SandboxOffer(Data, frozen=True, kw_only=True):
    """The mechanisms that the kernel offers to a process without privileges.

    Args:
        landlock: version of Landlock's interface; 0 if the kernel has no Landlock.
        namespaces: whether a process may create its own mount, network and IPC namespaces.
    """

    landlock: int = 0
    namespaces: bool = False

    @property
    def name(self) -> str:
        """The name in records: `landlock-abi7+namespaces`, `landlock-abi7`, `namespaces` or `none`."""
        landlock = f"landlock-abi{self.landlock}" if self.landlock else ""
        return "+".join(filter(None, (landlock, _NAMESPACES if self.namespaces else ""))) or NO_SANDBOX


class SandboxRequest(Data, frozen=True, kw_only=True):
    """The sandbox that a worker enters before it imports a submission.

    Args:
        offer: the mechanisms to use.
        readable: files and folders that may be read and executed, with everything in them.
        listable: folders that may be listed, including all their subfolders. The files in them may not be read.
        usable: files and devices that may be read and written, but not created or removed.
        writable: folders in which everything may be read, written, created and removed.
        hidden: folder that contains the folders of all runs. The worker sees nothing in it except the `writable`
            folders.
        network: whether the network stays open. A run with several ranks needs it, because it connects the ranks.
    """

    offer: SandboxOffer
    readable: tuple[str, ...] = ()
    listable: tuple[str, ...] = ()
    usable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    hidden: str = ""
    network: bool = False

    @property
    def name(self) -> str:
        """The name in records: the name of the offer, followed by a remark if the network stays open.

        Without a sandbox, the name is `none`, without a remark.
        """
        name = self.offer.name
        return name + _OPEN_NETWORK if self.network and name != NO_SANDBOX else name


def weaker_sandbox(first: str, second: str) -> str:
    """Return the weaker of two sandboxes.

    If several workers trained a run, its record has the weakest of their sandboxes.

    >>> weaker_sandbox("landlock-abi7+namespaces", "landlock-abi7"), weaker_sandbox("none", "namespaces")
    ('landlock-abi7', 'none')
    """
    return min(first, second, key=_strength)


def _strength(name: str) -> tuple[bool, int, bool, bool]:
    """Return a key by which sandboxes are ordered, the weakest first."""
    landlock = _LANDLOCK.match(name)
    return (
        bool(name),
        int(landlock[1]) if landlock else 0,
        _NAMESPACES in name,
        not name.endswith(_OPEN_NETWORK),
    )
