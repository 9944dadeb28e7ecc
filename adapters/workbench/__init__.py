"""The workbench of an adapter developer: what a page needs to show a source beside what it becomes, live on save.

Here are the look at a folder and the pages; their words stand in `texts/workbench.toml`. The server is composed by
the node's package, which also knows who would get what.
"""
