"""A page of the report, read for the tests as a browser would, without running it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from report_stand_in import Run

from hil.report.html import render


class Page(HTMLParser):
    """What a browser would make of the page, without running it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in ("meta", "br"):
            kind = attributes.get("type") or ""
            self._open.append(f"{tag} {kind}".strip())
            if tag in ("script", "style", "h2"):
                self.texts.setdefault(self._open[-1], []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().split()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            if element.split()[0] in ("script", "style", "h2"):
                self.texts[element][-1] += data
                if element != "h2":
                    return
        self.texts.setdefault("", []).append(data)

    @property
    def visible(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts[""]))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def classes(self, name: str) -> int:
        return sum(name in (attributes.get("class") or "").split() for _, attributes in self.tags)


def page(run: Run) -> Page:
    return Page(render(run.record, run.result))
