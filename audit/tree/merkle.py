"""The Merkle tree of the log: hashes, inclusion proofs and consistency proofs, as pure functions.

Leaves hash as `SHA-256(0x00 || entry)`, nodes as `SHA-256(0x01 || left || right)`, the empty tree as SHA-256 of
nothing. A tree of n leaves splits at the largest power of two below n. Proofs are built from the hashes of *complete*
subtrees, which the caller looks up by (level, number): the subtree over the leaves `number * 2**level` up to the next
multiple. Source: RFC 6962 section 2.1, RFC 9162 section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

EMPTY_ROOT: Final = sha256(b"").digest()
HASH_BYTES: Final = 32

Nodes = Callable[[int, int], bytes]
"""Hash of the complete subtree (level, number)."""


class ProofError(ValueError):
    """A proof that cannot be built or does not hold."""


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two children."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The complete subtrees that make up a tree, largest first: all that is needed to append to it."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def extended(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier after appending these leaf hashes."""
        stack, size = list(self.hashes), self.size
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = sha256(b"\x01" + stack.pop() + node).digest()
                carry >>= 1
            stack.append(node)
            size += 1
        return Frontier(size, tuple(stack))

    def root(self) -> bytes:
        """The root hash of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        node = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            node = node_hash(left, node)
        return node

    def to_bytes(self) -> bytes:
        """The hashes, one after the other."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """The frontier of a tree of this size. Raises ProofError if the number of hashes does not fit."""
        if size < 0 or len(data) != size.bit_count() * HASH_BYTES:
            raise ProofError(f"a tree of {size} leaves has {max(size, 0).bit_count()} complete subtrees")
        return cls(size, tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)))


def frontier_of(size: int, nodes: Nodes) -> Frontier:
    """The frontier of the first `size` leaves, from stored nodes."""
    hashes, start = [], 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            hashes.append(nodes(level, start >> level))
            start += 1 << level
    return Frontier(size, tuple(hashes))


def root_at(size: int, nodes: Nodes) -> bytes:
    """The root over the first `size` leaves, from stored nodes."""
    return frontier_of(size, nodes).root()


def _split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def _range_hash(start: int, end: int, nodes: Nodes) -> bytes:
    size = end - start
    if size & (size - 1) == 0:
        return nodes(size.bit_length() - 1, start // size)
    middle = start + _split(size)
    return node_hash(_range_hash(start, middle, nodes), _range_hash(middle, end, nodes))


def inclusion_proof(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """The hashes that lead from leaf `index` to the root of `size` leaves, lowest first. Raises ProofError."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_hash(middle, end, nodes))
            end = middle
        else:
            proof.append(_range_hash(start, middle, nodes))
            start = middle
    proof.reverse()
    return tuple(proof)


def consistency_proof(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """The hashes that show that the tree of `old` leaves is the beginning of that of `new`. Raises ProofError."""
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {old} leaves cannot be the beginning of one of {new}")
    if old in (0, new):
        return ()
    proof: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_range_hash(middle, end, nodes))
            end = middle
        else:
            proof.append(_range_hash(start, middle, nodes))
            start, whole = middle, False
    if not whole:
        proof.append(_range_hash(start, end, nodes))
    proof.reverse()
    return tuple(proof)


def _hashes(*values: bytes) -> None:
    """Refuse what is no hash: two texts of another length could be cut differently and hash the same."""
    if any(len(value) != 32 for value in values):
        raise ProofError("a hash of a tree has 32 bytes")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash stands at `index` in the tree of this root. Raises ProofError if it does not."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    _hashes(leaf, root, *proof)
    position, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if position & 1 or position == last:
            node = sha256(b"\x01" + step + node).digest()
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            node = sha256(b"\x01" + node + step).digest()
        position >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("the inclusion proof is too short")
    if node != root:
        raise ProofError("the inclusion proof leads to another root")


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the old tree is the beginning of the new one. Raises ProofError if it is not."""
    if not 0 <= old <= new:
        raise ProofError(f"the log went back from {old} to {new} entries")
    if old in (0, new) and proof:
        raise ProofError("the consistency proof must be empty")
    _hashes(old_root, new_root, *proof)
    if old in (0, new):
        if old == new and old_root != new_root:
            raise ProofError("two roots for the same size: the log is forked")
        if old == 0 and old_root != EMPTY_ROOT:
            raise ProofError("the root of the empty tree is wrong")
        return
    if not proof:
        raise ProofError("the consistency proof is empty")
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    first = second = path[0]
    for step in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if position & 1 or position == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            second = node_hash(second, step)
        position >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("the consistency proof is too short")
    if first != old_root:
        raise ProofError("the consistency proof does not lead to the old root")
    if second != new_root:
        raise ProofError("the consistency proof does not lead to the new root")
