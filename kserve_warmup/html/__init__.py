"""Reports as one HTML file each, which opens offline: no network, and no script but the plotting library's and ours.

``chart`` says what a chart shows, ``templates/charts.js`` draws it with Observable Plot; ``warmup``, ``compare`` and
``demo`` say what stands on a page, the templates in ``kserve_warmup/templates`` how it looks, ``page`` brings them
together. A further report is one more view and one more template on the same macros.
"""

from kserve_warmup.html.demo import render_demo
from kserve_warmup.html.verify import render_verification
from kserve_warmup.html.warmup import render_report

__all__ = ["render_demo", "render_report", "render_verification"]
