"""The templates' environment: strict about names, and everything that enters a page is escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from kserve_warmup.extras import optional
from kserve_warmup.views import figures

LIBRARIES = ("d3", "plot")


@cache
def _environment() -> Any:
    jinja2 = optional("jinja2", "HTML reports need", "verify")
    # Not chosen by file name: the templates end in .j2, which select_autoescape leaves as they are.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kserve_warmup.views", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (figures.number, figures.times, figures.duration, figures.share, figures.count):
        environment.filters[function.__name__] = function
    environment.globals |= {"ratio": figures.ratio, "state": figures.state}
    environment.globals |= {"scripts": scripts(), "script_hashes": [_digest(script) for script in scripts()]}
    return environment


@cache
def scripts() -> tuple[str, ...]:
    """Return the scripts of a page, in order: the plotting library with its licences, and what draws with it.

    They are the package's own files and hold nothing of a report. The page's content security policy names them by
    their digests, so that no other script runs.
    """
    folder = resources.files("kserve_warmup.views") / "templates"
    vendor = folder / "vendor"
    libraries = [
        f"/*!\n{(vendor / f'{name}.LICENSE').read_text(encoding='utf-8')}*/\n"
        f"{(vendor / f'{name}.min.js').read_text(encoding='utf-8')}"
        for name in LIBRARIES
    ]
    return (*libraries, (folder / "charts.js").read_text(encoding="utf-8"))


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def page(title: str, *parts: str) -> str:
    """Return a page of parts."""
    return part("base.html.j2", title=title, parts=parts)


def part(template: str, **values: Any) -> str:
    """Return what ``template`` makes of ``values``; a name that the template misses is an error."""
    text: str = _environment().get_template(template).render(**values)
    return text
