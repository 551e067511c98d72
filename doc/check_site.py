"""Check a built site: links and anchors resolve, pages have titles, pictures words.

Reads the html files below a folder with the standard library alone::

    python doc/check_site.py doc/_build/html

Prints what is wrong, one finding a line, and exits with 1 if there is anything.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Pages that are made of other tools' parts and that nobody links into.
SKIPPED = {"_static", "_modules"}


class Page(HTMLParser):
    """What is checked of one page."""

    def __init__(self):
        super().__init__()
        self.anchors, self.links, self.silent = {"", "top"}, [], []
        self.title, self._in_title = "", False
        self.headings = 0

    def handle_starttag(self, tag, attributes):
        """Collect anchors, links, pictures without words and headings."""
        found = dict(attributes)
        self.anchors.update(found[key] for key in ("id", "name") if found.get(key))
        if tag == "a" and found.get("href") is not None:
            self.links.append(found["href"])
        elif tag in {"img", "script", "source"} and found.get("src"):
            self.links.append(found["src"])
        elif tag == "link" and found.get("rel") in {"stylesheet", "icon"}:
            self.links.append(found["href"])
        # Thumbnails of the gallery stand beside their title and say nothing more.
        thumbnail = str(found.get("src")).endswith(("_thumb.png", "_thumb.svg"))
        if tag == "img" and not thumbnail and not (found.get("alt") or "").strip():
            self.silent.append(found.get("src", "?"))
        self._in_title |= tag == "title" and not self.title
        self.headings += tag == "h1"

    def handle_endtag(self, tag):
        """Notice the end of the title."""
        if tag == "title":
            self._in_title = False

    def handle_data(self, data):
        """Collect the title."""
        if self._in_title:
            self.title += data


def read_pages(root):
    """Parse all pages below a folder."""
    pages = {}
    for path in sorted(root.rglob("*.html")):
        if SKIPPED.isdisjoint(path.relative_to(root).parts):
            pages[path] = Page()
            pages[path].feed(path.read_text(encoding="utf-8"))
    return pages


def broken_link(link, path, root, pages):
    """Say why a link of a page leads nowhere, or return None."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None  # elsewhere
    target = path
    if parts.path:
        start = root if parts.path.startswith("/") else path.parent
        target = (start / unquote(parts.path).lstrip("/")).resolve()
        if target.is_dir():
            target = target / "index.html"
    if not target.exists():
        return f"leads to no file: {link}"
    if target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return f"leads to no anchor: {link}"
    return None


def findings(root):
    """List everything that is wrong with a site."""
    root = root.resolve()
    pages = read_pages(root)
    if not pages:
        yield f"{root}: no pages"
    for path, page in pages.items():
        name = path.relative_to(root)
        if not page.title.strip() or page.title.strip().startswith(("<no title>", "—")):
            yield f"{name}: no title"
        if page.headings != 1 and name.name not in {"search.html", "genindex.html"}:
            yield f"{name}: {page.headings} headings of the first level"
        for source in page.silent:
            yield f"{name}: picture without alternative text: {source}"
        for link in sorted(set(page.links)):
            reason = broken_link(link, path, root, pages)
            if reason:
                yield f"{name}: {reason}"


def main(arguments):
    """Check the folder that is named and return the exit status."""
    if len(arguments) != 1:
        print("usage: python doc/check_site.py FOLDER", file=sys.stderr)
        return 2
    wrong = list(findings(Path(arguments[0])))
    for line in wrong:
        print(line)
    print(f"{len(wrong)} findings" if wrong else "links, titles and pictures are fine")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
