"""The Merkle tree against the published vectors of RFC 6962's reference implementation."""

import pytest

from penstock.record.chain import Chain, chain_from_json

# Leaves and roots of the certificate-transparency reference test (merkletree tests).
LEAVES = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    bytes(range(0x50, 0x58)),
    bytes(range(0x60, 0x70)),
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_roots_are_those_of_the_reference_implementation():
    chain = Chain()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        chain.add(leaf)
        assert chain.root().hex() == root


def test_the_root_of_nothing_is_the_hash_of_nothing():
    assert Chain().root().hex().startswith("e3b0c44298fc1c149afbf4c8996fb924")


def test_a_chain_survives_its_own_serialisation():
    chain = Chain()
    for number in range(13):
        chain.add(b"%d" % number)
    assert chain_from_json(chain.to_json()) == chain


@pytest.mark.parametrize(
    "values", [{}, {"size": 3, "last": "0" * 64, "frontier": []}, {"size": "3"}]
)
def test_a_head_that_contradicts_itself_is_refused(values):
    with pytest.raises(ValueError, match="head"):
        chain_from_json(values)
