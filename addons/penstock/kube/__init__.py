"""The admission webhook and the pod patch it answers with.

`patch` and `review` are pure: dictionaries in, dictionaries out. Only `server` opens a port.
"""
