"""The tree is the one of RFC 6962: published vectors, proofs that hold, and proofs that stop holding when touched."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.tree import tiles
from audit.tree.merkle import (
    EMPTY_ROOT,
    Frontier,
    Nodes,
    ProofError,
    consistency_proof,
    frontier_of,
    inclusion_proof,
    leaf_hash,
    root_at,
    verify_consistency,
    verify_inclusion,
)
from tests.trees import root_of, tiles_of, unbundle

# The eight leaves, the roots of their first n, and the proofs of the test data of the certificate transparency project.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
INCLUSION = {
    (0, 1): (),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): INCLUSION[0, 8],
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}

MANY = [leaf_hash(number.to_bytes(2, "big")) for number in range(1100)]


def definition(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + definition(leaves[:split]) + definition(leaves[split:])).digest()


def nodes_of(leaves: Sequence[bytes]) -> Nodes:
    def node(level: int, number: int) -> bytes:
        assert (number + 1) << level <= len(leaves), "a proof may only be built from complete subtrees"
        return definition(leaves[number << level : (number + 1) << level])

    return node


def flip(data: bytes, bit: int) -> bytes:
    at = bit // 8 % len(data)
    return data[:at] + bytes([data[at] ^ 1 << bit % 8]) + data[at + 1 :]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_published_vectors(size: int) -> None:
    assert root_of([leaf_hash(leaf) for leaf in LEAVES[:size]]) == ROOTS[size - 1]


def test_empty_tree_has_the_published_root() -> None:
    assert root_of([]) == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_the_published_vectors(index: int, size: int) -> None:
    leaves = [leaf_hash(leaf) for leaf in LEAVES]
    proof = inclusion_proof(index, size, nodes_of(leaves[:size]))
    assert tuple(step.hex() for step in proof) == INCLUSION[index, size]
    verify_inclusion(leaves[index], index, size, proof, ROOTS[size - 1])


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_those_of_the_published_vectors(old: int, new: int) -> None:
    leaves = [leaf_hash(leaf) for leaf in LEAVES]
    proof = consistency_proof(old, new, nodes_of(leaves[:new]))
    assert tuple(step.hex() for step in proof) == CONSISTENCY[old, new]
    verify_consistency(old, ROOTS[old - 1], new, ROOTS[new - 1], proof)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=80), st.integers(0, 80))
def test_tree_grown_in_two_steps_has_the_root_of_the_definition(leaves: list[bytes], cut: int) -> None:
    first = Frontier().extended(leaves[:cut])
    grown = Frontier.from_bytes(first.size, first.to_bytes()).extended(leaves[cut:])
    assert grown.size == len(leaves)
    assert grown.root() == definition(leaves) == root_at(len(leaves), nodes_of(leaves))
    assert grown == frontier_of(len(leaves), nodes_of(leaves))


def test_every_leaf_of_every_small_tree_is_provably_in_it_and_nowhere_else() -> None:
    for size in range(1, 20):
        root, nodes = definition(MANY[:size]), nodes_of(MANY[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, nodes)
            verify_inclusion(MANY[index], index, size, proof, root)
            for other in set(range(size)) - {index}:
                with pytest.raises(ProofError):
                    verify_inclusion(MANY[index], other, size, proof, root)


def test_every_pair_of_small_trees_is_provably_consistent() -> None:
    for new in range(20):
        for old in range(new + 1):
            proof = consistency_proof(old, new, nodes_of(MANY[:new]))
            verify_consistency(old, definition(MANY[:old]), new, definition(MANY[:new]), proof)


@given(st.data())
def test_inclusion_proof_fails_when_anything_in_it_is_changed(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    bit = data.draw(st.integers(0, 255))
    nodes, root = nodes_of(MANY[:size]), definition(MANY[:size])
    proof = inclusion_proof(index, size, nodes)
    verify_inclusion(MANY[index], index, size, proof, root)

    damaged: list[tuple[bytes, int, int, tuple[bytes, ...], bytes]] = [
        (flip(MANY[index], bit), index, size, proof, root),
        (MANY[index], index, size, proof, flip(root, bit)),
        (MANY[index], index, size, (*proof, root), root),
        (MANY[index], size, size, proof, root),
        (MANY[index], -1, size, proof, root),
    ]
    for at in range(len(proof)):
        changed = (*proof[:at], flip(proof[at], bit), *proof[at + 1 :])
        damaged.append((MANY[index], index, size, changed, root))
        damaged.append((MANY[index], index, size, proof[:at] + proof[at + 1 :], root))
    for leaf, where, of, path, top in damaged:
        with pytest.raises(ProofError):
            verify_inclusion(leaf, where, of, path, top)


@given(st.data())
def test_consistency_proof_fails_when_anything_in_it_is_changed(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 300))
    old = data.draw(st.integers(1, new - 1))
    bit = data.draw(st.integers(0, 255))
    before, after = definition(MANY[:old]), definition(MANY[:new])
    proof = consistency_proof(old, new, nodes_of(MANY[:new]))
    verify_consistency(old, before, new, after, proof)

    damaged = [
        (flip(before, bit), after, proof),
        (before, flip(after, bit), proof),
        (before, after, (*proof, after)),
        (before, after, ()),
    ]
    for at in range(len(proof)):
        damaged.append((before, after, (*proof[:at], flip(proof[at], bit), *proof[at + 1 :])))
        damaged.append((before, after, proof[:at] + proof[at + 1 :]))
    for first, second, path in damaged:
        with pytest.raises(ProofError):
            verify_consistency(old, first, new, second, path)


@given(st.integers(2, 200), st.data())
def test_tree_with_one_entry_rewritten_cannot_be_proven_consistent(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    forked = [*MANY[:new]]
    forked[changed] = leaf_hash(b"another story")
    proof = consistency_proof(old, new, nodes_of(forked))
    with pytest.raises(ProofError):
        verify_consistency(old, definition(MANY[:old]), new, definition(forked), proof)


def test_log_that_shrank_or_has_two_roots_for_one_size_is_refused() -> None:
    with pytest.raises(ProofError, match="went back"):
        verify_consistency(5, ROOTS[4], 3, ROOTS[2], ())
    with pytest.raises(ProofError, match="forked"):
        verify_consistency(5, ROOTS[4], 5, ROOTS[3], ())
    with pytest.raises(ProofError):
        consistency_proof(5, 3, nodes_of(MANY))
    with pytest.raises(ProofError):
        inclusion_proof(3, 3, nodes_of(MANY))
    with pytest.raises(ProofError):
        verify_consistency(0, ROOTS[0], 3, ROOTS[2], ())


@pytest.mark.parametrize("old", [0, 3, 7], ids=["empty", "three", "seven"])
@pytest.mark.parametrize("proof", [(b"\x00" * 32,), (ROOTS[2],), (b"",)], ids=["zeros", "a root", "nothing"])
def test_proof_between_trees_of_one_size_is_empty_or_no_proof(old: int, proof: tuple[bytes, ...]) -> None:
    root = ROOTS[old - 1] if old else EMPTY_ROOT
    verify_consistency(old, root, old, root, ())

    with pytest.raises(ProofError, match="must be empty"):
        verify_consistency(old, root, old, root, proof)


def test_frontier_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ProofError):
        Frontier.from_bytes(3, b"\x00" * 32)
    with pytest.raises(ProofError):
        Frontier.from_bytes(-1, b"")


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700, 1100])
def test_tile_holds_the_hashes_that_lead_to_the_root(size: int) -> None:
    """What a reader of tiles does: hash level after level, and arrive at the root of the tree."""
    leaves = MANY[:size]
    found = list(tiles_of(size))
    assert sum(tile.width for tile in found if tile.level == 0) == size
    for tile in found:
        if tile.level == 1:
            block = leaves[tile.number * 256 * 256 : (tile.number + 1) * 256 * 256]
            roots = [tiles.subtree(block[at * 256 : (at + 1) * 256]) for at in range(tile.width)]
            assert roots == [definition(block[at * 256 : (at + 1) * 256]) for at in range(tile.width)]
    frontier = [tiles.subtree(leaves[at * 256 : (at + 1) * 256]) for at in range(size // 256)]
    rest = leaves[size // 256 * 256 :]
    if not rest:
        assert root_of(frontier) == definition(leaves)
    elif not frontier:
        assert root_of(rest) == definition(leaves)
    else:
        # One partial tile of the lowest level hangs to the right of the tree of complete ones.
        combined = Frontier(size, (*Frontier().extended(frontier).hashes, *Frontier().extended(rest).hashes))
        assert combined.root() == definition(leaves)


@given(st.none() | st.integers(0, 63), st.integers(0, 10**12), st.integers(1, 256))
def test_tile_path_reads_back_as_the_tile(level: int | None, number: int, width: int) -> None:
    tile = tiles.Tile(level, number, width)
    assert tiles.Tile.parse(tile.path()) == tile


def test_tile_path_is_written_as_the_specification_shows() -> None:
    assert tiles.Tile(0, 1234067).path() == "tile/0/x001/x234/067"
    assert tiles.Tile(0, 1234067, 8).path() == "tile/0/x001/x234/067.p/8"
    assert tiles.Tile(None, 0).path() == "tile/entries/000"


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/67",
        "tile/0/x000/067",
        "tile/64/000",
        "tile/00/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/08",
        "tile/0/000.p/999",
        "tile/-1/000",
        "tile/0/000\n",
        "tile/data/000",
        "tile/0/../000",
        "",
    ],
)
def test_tile_path_in_any_other_form_is_refused(path: str) -> None:
    with pytest.raises(tiles.TilePathError):
        tiles.Tile.parse(path)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_entry_bundle_reads_back_as_its_entries(entries: list[bytes]) -> None:
    assert unbundle(tiles.bundle(entries)) == entries


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_what_is_no_hash_proves_nothing(length: int) -> None:
    bad, good = b"\x00" * length, sha256(b"x").digest()

    for leaf, proof, root in ((bad, (), bad), (good, (bad,), good), (good, (), bad)):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_inclusion(leaf, 0, 1 + len(proof), proof, root)
    for old, old_root, new, new_root, steps in (
        (1, bad, 1, bad, ()),
        (0, EMPTY_ROOT, 5, bad, ()),
        (1, good, 2, good, (bad,)),
    ):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_consistency(old, old_root, new, new_root, steps)
