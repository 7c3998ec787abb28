"""The statement as one self-contained HTML page: tables, pictures and the verdict in one file."""

import base64
import html
from collections.abc import Mapping

from markdown_it import MarkdownIt

from hicray.figures import Picture, png

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1f23; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block;
        overflow-x: auto; }
th, td { border-bottom: 1px solid #d8dee4; padding: .3rem .7rem; text-align: left;
         font-variant-numeric: tabular-nums; }
figure { margin: 2rem 0; } img { max-width: 100%; } figcaption { color: #57606a; }
"""


def page(title: str, statement: str, figures: Mapping[str, Picture]) -> str:
    """Return the page; nothing in it is loaded from elsewhere.

    Args:
        title: Of the page.
        statement: Markdown with tables; its last paragraph, the verdict, stands above all else too.
        figures: By caption.
    """
    # Names come from files: HTML in one is shown as text.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    body, verdict = statement.rsplit("\n\n", 1)
    pictures = "".join(_figure(caption, figure) for caption, figure in figures.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body>"
        f"<h1>{html.escape(title)}</h1>\n{markdown.render(verdict)}{markdown.render(body)}"
        f"{pictures}<h2>Verdict</h2>\n{markdown.render(verdict)}</body></html>\n"
    )


def _figure(caption: str, figure: Picture) -> str:
    data, text = base64.b64encode(png(figure)).decode("ascii"), html.escape(caption)
    picture = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{picture}<figcaption>{text}</figcaption></figure>\n"
