"""The workbench of an adapter developer: what a page needs to show a source beside what it becomes, live on save.

Here are the look at a folder, the words and the pages. The server is composed by the node's package, which also knows
who would get what.
"""
