"""The addons of ``stack.py``, one file each."""
