"""What a call is made to: the catalogue of AI services and matching of host names.

Knowledge is data (``hosts.json``, see ``NOTICE``), code is look-up. Nothing here resolves
names, opens a connection or trusts a caller's word: a host name in, a Destination out.
"""

from penstock.destinations.catalogue import by_shape, identify, is_ai
from penstock.destinations.patterns import canonical_host, matches, pattern_problem

__all__ = ["by_shape", "canonical_host", "identify", "is_ai", "matches", "pattern_problem"]
