"""The figures as one page that needs nothing else: a table, and for each figure its rounds drawn as points."""

from __future__ import annotations

from html import escape

from bench.figures import Figure

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #d0d7de}
td.n{text-align:right;font-variant-numeric:tabular-nums}.yes{color:#116329}.no{color:#a40e26}
"""


def page(figures: list[Figure]) -> str:
    """The whole page."""
    rows = "".join(_row(figure) for figure in figures)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>yhdyspinta: measured</title><style>{_STYLE}</style>"
        "<h1>Measured</h1><p>Medians of rounds that were run in turn. Ratios are what counts; absolute numbers are "
        "this machine's of that moment.</p><table><thead><tr><th>What<th>Median<th>Against<th>Baseline<th>Ratio<th>Goal"
        f"<th>Rounds<tbody>{rows}</table></html>\n"
    )


def _row(one: Figure) -> str:
    goal = "" if one.goal is None else f"{'≥' if one.sense == 'at least' else '≤'} {one.goal:g}"
    reached = {None: "", True: "yes", False: "no"}[one.reached]
    return (
        f"<tr><td>{escape(one.part)}: {escape(one.what)}<td class=n>{one.value:,.4g} {escape(one.unit)}"
        f"<td>{escape(one.against or '')}<td class=n>{'' if one.baseline is None else f'{one.baseline:,.4g}'}"
        f"<td class=n>{one.compared:.3g}<td class='n {reached}'>{goal}<td>{_dots(one)}"
    )


def _dots(one: Figure) -> str:
    """Ours as filled points, the baseline's as open ones, on one scale from zero."""
    if not one.samples:
        return ""
    most = max((*one.samples, *one.baseline_samples)) or 1.0
    points = "".join(
        f"<circle cx='{6 + 148 * value / most:.1f}' cy='{y}' r=4 {look}/>"
        for samples, y, look in (
            (one.samples, 8, "fill='#0b4f9e'"),
            (one.baseline_samples, 22, "fill=none stroke='#57606a'"),
        )
        for value in samples
    )
    title = f"{one.part}: {one.what}, ours above, baseline below"
    return f"<svg width=160 height=30 role=img aria-label='{escape(title)}'>{points}</svg>"
