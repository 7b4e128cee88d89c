"""Read rounds of a public randomness beacon (drand) over HTTP, and check them as far as possible.

A drand network publishes a random number at fixed times, in numbered rounds. The number is the SHA-256 of the network's
threshold signature of the round. Nobody can know the number before the network signs the round.

A round is checked as follows:

* The number is the SHA-256 of the signature.
* The relay answers with the requested round.
* All relays that answer agree.
* In a chained network, each round contains a copy of the previous round's signature. The copy is correct.
* The signature is that of the network (`beacon_signature`). This is checked only if the extra `beacon` is installed.

Without the last check, several relays that collude could answer with an invented round. Anybody can detect such a round
later, with `bench verify`.

Source: drand specification, https://docs.drand.love/docs/specification, and HTTP API,
    https://docs.drand.love/docs/dev-guide/3-4-dev-guide-http-api
"""

from __future__ import annotations

import hashlib
import http.client
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from harness import __version__
from harness.errors import DataError
from harness.system import beacon_signature
from harness.system.files import JSON_ERRORS

#: Maximum number of bytes of an answer. The longest answers have about 800 bytes.
_MAX_ANSWER = 1 << 16
#: Seconds to wait for an answer.
_TIMEOUT_S = 10.0
#: What to do if a relay cannot be used.
_FIX = "try again later, or draw the nonce on this machine with --nonce local"


class BeaconError(DataError):
    """No relay of the beacon answered, or an answer is inconsistent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeaconChain:
    """The constants of a drand network.

    Args:
        public_key: public key of the network in hex.
        period: seconds between two rounds.
        genesis: time of round 1 in seconds since 1970, UTC.
        group: hash of the network's first group of signers, in hex.
        name: name of the network; `default` for drand's first network.
        chained: whether a round contains the signature of the round before it.
    """

    public_key: str
    period: int
    genesis: int
    group: str
    name: str
    chained: bool

    @property
    def hash(self) -> str:
        """The chain hash in hex, which identifies the network and follows from its constants."""
        digest = hashlib.sha256(struct.pack(">Iq", self.period, self.genesis))
        digest.update(bytes.fromhex(self.public_key) + bytes.fromhex(self.group))
        digest.update(b"" if self.name == "default" else self.name.encode())
        return digest.hexdigest()

    def time_of(self, number: int) -> int:
        """Return the time at which a round is published, in seconds since 1970, UTC."""
        return self.genesis + (number - 1) * self.period

    def next_round(self, moment: float) -> int:
        """Return the number of the first round that is published after a time in seconds since 1970, UTC."""
        return max(0, int((moment - self.genesis) // self.period) + 1) + 1


#: The network `quicknet`, which publishes a round every 3 seconds.
QUICKNET: Final = BeaconChain(
    public_key="83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c"
    "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb"
    "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
    period=3,
    genesis=1692803367,
    group="f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e",
    name="quicknet",
    chained=False,
)
#: The network `default`, which publishes a round every 30 seconds.
DEFAULT_CHAIN: Final = BeaconChain(
    public_key="868f005eb8e6e4ca0a47c8a77ceaa5309a47978a7c71bc5cce96366b5d7a569937c529eeda66c7293784a9402801af31",
    period=30,
    genesis=1595431050,
    group="176f93498eac9ca337150b46d21dd58673ea4e3581185f869672e59fa4cb390a",
    name="default",
    chained=True,
)
#: The known networks by chain hash.
CHAINS: Final = {chain.hash: chain for chain in (QUICKNET, DEFAULT_CHAIN)}
#: Addresses of relays that different organisations run.
RELAYS: Final = ("https://api.drand.sh", "https://drand.cloudflare.com")


class BeaconRound(msgspec.Struct, frozen=True, kw_only=True):
    """A round as a relay publishes it.

    Args:
        number: number of the round.
        randomness: the random number, 32 bytes in hex.
        signature: signature of the round in hex.
        previous_signature: signature of the round before it in hex; empty in a network that is not chained.
    """

    number: int = msgspec.field(name="round")
    randomness: str
    signature: str
    previous_signature: str = ""


def find_inconsistency(answer: BeaconRound, number: int, chain: BeaconChain) -> str:
    """Return why an answer cannot be the requested round of a network; empty if no problem was found."""
    if answer.number != number:
        return f"it is round {answer.number}, not {number}"
    try:
        expected = hashlib.sha256(bytes.fromhex(answer.signature)).hexdigest()
    except ValueError:
        return "its signature is not a hexadecimal number"
    if answer.randomness != expected:
        return "its number is not the SHA-256 of its signature"
    is_wrong = can_verify_signature(answer, chain) and not _is_signed(answer, chain)
    return "its signature is not that of the network" if is_wrong else ""


def can_verify_signature(answer: BeaconRound, chain: BeaconChain) -> bool:
    """Return whether the signature of a round can be verified.

    This needs the extra `beacon` and, in a chained network, the signature of the round before.
    """
    return beacon_signature.can_verify() and (bool(answer.previous_signature) or not chain.chained)


def _is_signed(answer: BeaconRound, chain: BeaconChain) -> bool:
    """Return whether the network signed a round.

    The signed message is the SHA-256 of the round's number. In a chained network, the previous round's signature comes
    before the number.
    """
    try:
        previous = bytes.fromhex(answer.previous_signature) if chain.chained else b""
        message = hashlib.sha256(previous + answer.number.to_bytes(8, "big")).digest()
    except (ValueError, OverflowError):
        return False
    return beacon_signature.is_signed(message, bytes.fromhex(answer.signature), bytes.fromhex(chain.public_key))


@dataclass(frozen=True, kw_only=True)
class Beacon:
    """A client of a drand network.

    Args:
        chain: constants of the network.
        relays: addresses of the relays, without a slash at the end.
        clock: function that returns seconds since 1970.
        sleep: function that waits for a number of seconds.
    """

    chain: BeaconChain = QUICKNET
    relays: Sequence[str] = RELAYS
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def read_next(self) -> BeaconRound:
        """Wait for the first round that is published after this call, and return it.

        Raises:
            BeaconError: no relay answered, or an answer is inconsistent.
        """
        number = self.chain.next_round(self.clock())
        deadline = self.chain.time_of(number) + 2 * self.chain.period + _TIMEOUT_S
        self.sleep(max(0.0, self.chain.time_of(number) - self.clock()))
        while True:
            try:
                return self.read(number)
            except _NotPublished as error:
                # A relay may publish the round a little later, or its clock may be slow.
                if self.clock() >= deadline:
                    raise BeaconError(error.what, fix=error.fix) from None
                self.sleep(min(1.0, self.chain.period))

    def read(self, number: int) -> BeaconRound:
        """Return a round on which all relays that answer agree.

        Raises:
            BeaconError: no relay answered, or an answer is inconsistent.
        """
        answers: dict[str, BeaconRound] = {}
        failures: list[str] = []
        missing = False
        for relay in self.relays:
            try:
                answers[relay] = self._read_from(relay, number)
            except _NotPublished as error:
                missing = True
                failures.append(error.what)
            except BeaconError as error:
                failures.append(error.what)
        if not answers:
            problem = f"round {number} of the beacon cannot be read: {'; '.join(failures)}"
            kind = _NotPublished if missing else BeaconError
            raise kind(problem, fix="check the network connection and the clock, or set BENCH_BEACON to another relay")
        first = next(iter(answers.values()))
        if any(answer.randomness != first.randomness for answer in answers.values()):
            raise BeaconError(f"the relays {', '.join(answers)} disagree about round {number}", fix="try again later")
        return first

    def _read_from(self, relay: str, number: int) -> BeaconRound:
        answer = self._get(relay, number)
        problem = find_inconsistency(answer, number, self.chain)
        has_predecessor = self.chain.chained and number > 1
        if not problem and has_predecessor and self._get(relay, number - 1).signature != answer.previous_signature:
            problem = "it does not contain the signature of the round before it"
        if problem:
            raise BeaconError(f"{relay} answered with a wrong round {number}: {problem}", fix=_FIX)
        return answer

    def _get(self, relay: str, number: int) -> BeaconRound:
        url = f"{relay}/{self.chain.hash}/public/{number}"
        if not url.startswith(("https://", "http://")):
            raise BeaconError(f"{relay} is not the address of a relay", fix="give an address that begins with https://")
        request = urllib.request.Request(url, headers={"User-Agent": f"algorace/{__version__}"})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                return msgspec.json.decode(response.read(_MAX_ANSWER), type=BeaconRound)
        except urllib.error.HTTPError as error:
            problem = f"{relay} answered with status {error.code}"
            raise (_NotPublished if error.code in (404, 425) else BeaconError)(problem, fix=_FIX) from None
        except (OSError, http.client.HTTPException) as error:
            raise BeaconError(f"{relay} did not answer: {getattr(error, 'reason', error)}", fix=_FIX) from None
        except JSON_ERRORS:
            raise BeaconError(f"{relay} answered with something that is not a round", fix=_FIX) from None


class _NotPublished(BeaconError):
    """A relay answered that the round does not exist yet."""
