"""The templates' environment: strict about names, and everything that enters a page is escaped."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kserve_warmup import figures


@cache
def _environment() -> Environment:
    # Not chosen by file name: the templates end in .j2, which select_autoescape leaves as they are.
    environment = Environment(
        loader=PackageLoader("kserve_warmup", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (figures.number, figures.times, figures.duration, figures.share, figures.count):
        environment.filters[function.__name__] = function
    environment.globals |= {"ratio": figures.ratio, "state": figures.state}
    return environment


def render(template: str, **values: Any) -> str:
    """Return the page that ``template`` makes of ``values``; a name that the template misses is an error."""
    return _environment().get_template(template).render(**values)
