"""The data categories: the words in which laws, consents and schemas speak about the content of a record.

A category may have parts that the law gives on their own (`contact/address` is a part of `contact`). To permit a
category is to permit its parts; to permit a part is to permit only that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

#: Marks what is pure form in a schema (a resource's type, a meaningless id, a reference). It can carry no content.
STRUCTURE = "structure"

CATEGORIES: frozenset[str] = frozenset(
    {
        "identity",
        "contact",
        "language",
        "family",
        "residence-permit",
        "move",
        "housing",
        "education",
        "employment",
        "social-needs",
        "health-needs",
        "child-protection",
        "vulnerability",
        "guardianship",
        "finances",
    }
)

#: Each part and the category that it belongs to.
PARTS: Mapping[str, str] = MappingProxyType(
    {
        "contact/address": "contact",
        "contact/telecom": "contact",
        "family/size-and-ages": "family",
        "vulnerability/fact": "vulnerability",
        "social-needs/early-support": "social-needs",
        "finances/early-support": "finances",
    }
)


def permits(permitted: Collection[str], category: str) -> bool:
    """Whether a set of permitted categories lets this category or part through."""
    return category in permitted or PARTS.get(category) in permitted


def known(category: str) -> bool:
    """Whether it is a category or a part of one."""
    return category in CATEGORIES or category in PARTS
