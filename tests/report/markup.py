"""The text of a page, by section, and what it would load."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}
LOADS = {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}


class Page(HTMLParser):
    """`text["speed"]`: a section's text, all white space as single spaces; `text[""]`: what is outside of them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: dict[str, list[str]] = {"": []}
        self.tags: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.titles: list[str] = []
        self.seen: set[str] = set()
        self._open: list[str] = []
        self._section = ""
        self.feed(html)
        self.close()
        assert not self._open, f"left open: {self._open}"
        self.text = {name: " ".join(" ".join(parts).split()) for name, parts in self.parts.items()}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        told = dict(attrs)
        self.links += [(name, value or "") for name, value in attrs if name in LOADS]
        self.titles += [told["title"] or ""] if "title" in told else []
        self.seen.add(told.get("id") or "")
        if tag == "section":
            self._section = told["id"] or ""
            self.parts[self._section] = []
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another"
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.parts[self._section].append(data)
