"""Check the pages of the project and build them as HTML: `python scripts/docs.py [--check] [FOLDER]`.

A link inside the project must lead to a file or folder that is there, and its anchor to a heading of that page; anchors
are named as GitHub names them, so that both readers of a page get where it says. A picture beneath `docs/` must be
shown by a page. With `--check` nothing is written.
The HTML stands in FOLDER (default `build/docs`) as the pages stand in the project, needs nothing from elsewhere and can
be put on any web server, or be read from the disk.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ("*.png", "*.webp", "*.svg", "*.jpg", "*.jpeg", "*.gif")
STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 78ch; margin: 0 auto; padding: 1.5rem }
nav { font-size: .9rem; border-bottom: 1px solid var(--line); padding-bottom: .75rem }
h1, h2, h3 { line-height: 1.25; margin-top: 2em } h1 { margin-top: 1em }
pre { overflow-x: auto; padding: .8rem 1rem; border: 1px solid var(--line); border-radius: .4rem }
code { font: .92em ui-monospace, monospace } table { border-collapse: collapse; display: block; overflow-x: auto }
img { max-width: 100%; height: auto; border: 1px solid var(--line) }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: start; vertical-align: top }
"""


@dataclass(frozen=True)
class Page:
    """One Markdown page: its path in the project, and its text as parsed."""

    path: PurePosixPath
    tokens: tuple[Token, ...]

    @property
    def title(self) -> str:
        """Its first heading."""
        return next((text for _, text in self.headings()), str(self.path))

    def headings(self) -> Iterator[tuple[str, str]]:
        """Anchor and text of each heading."""
        seen: dict[str, int] = {}
        for token, inner in zip(self.tokens, self.tokens[1:], strict=False):
            if token.type == "heading_open":
                text = "".join(part.content for part in inner.children or () if part.type in {"text", "code_inline"})
                slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
                seen[slug] = seen.get(slug, -1) + 1
                yield (f"{slug}-{seen[slug]}" if seen[slug] else slug), text

    def links(self) -> Iterator[tuple[int, str]]:
        """Line and target of each link and image."""
        for token in self.tokens:
            for part in token.children or ():
                target = part.attrGet("href") or part.attrGet("src")
                if target is not None:
                    yield (token.map or [0])[0] + 1, str(target)


def read(root: Path = ROOT) -> dict[PurePosixPath, Page]:
    """Every page that belongs to the project. An ignored file is none of it."""
    parser = MarkdownIt("commonmark").enable("table")
    paths = _listed(root, "*.md")
    return {path: Page(path, tuple(parser.parse((root / path).read_text("utf-8")))) for path in paths}


def unused(pages: dict[PurePosixPath, Page], root: Path = ROOT) -> list[str]:
    """The pictures beneath `docs/` that no page names, each as `PICTURE: what is wrong`."""
    named = {_place(page.path, urlsplit(target).path) for page in pages.values() for _, target in page.links()}
    pictures = _listed(root, *(f"docs/**/{name}" for name in PICTURES))
    return [f"{path}: no page shows this picture; name it or remove it" for path in pictures if path not in named]


def _listed(root: Path, *patterns: str) -> list[PurePosixPath]:
    """The files of the project that are there and match; `docs/**/` matches `docs/` itself as well."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--"]
    magic = [f":(glob){pattern}" if "**" in pattern else pattern for pattern in patterns]
    found = subprocess.run([*command, *magic], cwd=root, capture_output=True, text=True, check=True)
    return [PurePosixPath(name) for name in sorted(set(found.stdout.splitlines())) if (root / name).exists()]


def broken(pages: dict[PurePosixPath, Page], root: Path = ROOT) -> list[str]:
    """What leads nowhere, each as `PAGE:LINE: TARGET: what is wrong`."""
    found = []
    for page in pages.values():
        for line, target in page.links():
            split = urlsplit(target)
            if split.scheme or split.netloc:
                continue
            place = _place(page.path, split.path)
            if place is None or not (root / place).exists():
                found.append(f"{page.path}:{line}: {target}: there is no such file")
            elif split.fragment:
                other = pages.get(_page_of(place, pages))
                if other is None:
                    found.append(f"{page.path}:{line}: {target}: an anchor of what is no page")
                elif unquote(split.fragment) not in {anchor for anchor, _ in other.headings()}:
                    found.append(f"{page.path}:{line}: {target}: {other.path} has no such heading")
    return found


def build(pages: dict[PurePosixPath, Page], folder: Path, root: Path = ROOT) -> None:
    """Write the pages as HTML, and copy the files of the project that they link to."""
    renderer = MarkdownIt("commonmark").enable("table")
    for page in pages.values():
        anchors = iter([anchor for anchor, _ in page.headings()])
        for token in page.tokens:
            if token.type == "heading_open":
                token.attrSet("id", next(anchors))
            for part in token.children or ():
                for name in ("href", "src"):
                    target = part.attrGet(name)
                    if target is not None:
                        part.attrSet(name, _linked(page, str(target), pages, folder, root))
        out = folder / _html(page.path)
        out.parent.mkdir(parents=True, exist_ok=True)
        body = renderer.renderer.render(list(page.tokens), renderer.options, {})
        out.write_text(_whole(page, body), encoding="utf-8")


def _linked(page: Page, target: str, pages: dict[PurePosixPath, Page], folder: Path, root: Path) -> str:
    """Where a link of a built page leads; a file that is no page is copied to where the link expects it."""
    split = urlsplit(target)
    if split.scheme or split.netloc or not split.path:
        return target
    place = _place(page.path, split.path)
    if place is None:
        return target
    other = _page_of(place, pages)
    if other in pages:
        up = "../" * (len(page.path.parts) - 1)
        return f"{up}{_html(other)}" + (f"#{split.fragment}" if split.fragment else "")
    if (root / place).is_file():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / place, folder / place)
    return target


def _place(page: PurePosixPath, target: str) -> PurePosixPath | None:
    """The path in the project that a link of a page means; None if it leads out of the project."""
    if not target:
        return page
    parts: list[str] = []
    for part in (page.parent / unquote(target)).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)


def _page_of(place: PurePosixPath, pages: dict[PurePosixPath, Page]) -> PurePosixPath:
    """The page that a place stands for: itself, or the README of a folder."""
    return place if place in pages else place / "README.md"


def _html(path: PurePosixPath) -> PurePosixPath:
    return PurePosixPath("index.html") if path == PurePosixPath("README.md") else path.with_suffix(".html")


def _whole(page: Page, body: str) -> str:
    up = "../" * (len(page.path.parts) - 1)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(page.title)}</title>\n"
        f'<style>{STYLE}</style>\n<nav><a href="{up}index.html">yhdyspinta</a> / {html.escape(str(page.path))}</nav>\n'
        f"<main>\n{body}</main>\n</html>\n"
    )


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 if a link leads nowhere."""
    parser = argparse.ArgumentParser(description="Check the project's pages and build them as HTML.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "docs")
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args(arguments)
    pages = read()
    faults = [*broken(pages), *unused(pages)]
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        return 1
    if not given.check:
        build(pages, given.folder)
        print(f"{len(pages)} pages in {given.folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
