"""Git's object model without git: ids, trees, attributes and LFS pointers as pure functions over bytes.

An id worked out here is the one that the git program gives to the same content, so that a commit pinned by its id means the same
in the house and in a clone.
"""
