"""A browser's page that notices what must not happen, and the gestures that the tests share."""

import base64
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, Response

__all__ = ["Visitor"]

WATCH_POLICY = """
window.violations = [];
addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective + " " + e.blockedURI));
"""
TRANSFER = """([url, name]) => {
  const bytes = Uint8Array.from(atob(url), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: name.endsWith(".png") ? "image/png" : "text/plain" }));
  return data;
}"""


class Visitor:
    """A person at the page.

    Args:
        page: not yet anywhere.
        url: of the server, without a slash at the end.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        self.searches: list[dict[str, Any]] = []
        self.listings: list[dict[str, Any]] = []
        page.add_init_script(WATCH_POLICY)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self._see(request.url, request.method, request.post_data_json))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def _see(self, url: str, method: str, body: Any) -> None:
        if not url.startswith((self.url + "/", "data:", "blob:" + self.url)):
            self.problems.append(f"a request left the origin: {url}")
        if method == "POST" and url.endswith("/v1/search"):
            (self.searches if has_query(body) else self.listings).append(body)

    def go(self, hash: str = "") -> "Visitor":
        self.page.goto(f"{self.url}/{hash}")
        self.page.get_by_role("heading", name="llave").wait_for()
        return self

    @property
    def box(self) -> Locator:
        return self.page.get_by_role("searchbox", name="Search by a text")

    @property
    def cards(self) -> Locator:
        """What the query has found; without a query, the items of the index."""
        return self.page.get_by_role("list", name="Results").locator(".card")

    @property
    def status(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def chips(self) -> Locator:
        return self.page.get_by_role("list", name="The query").get_by_role("listitem")

    def search(self, text: str) -> None:
        """Type a text and wait for its answer, not for one that was asked before."""
        with self.answer(text):
            self.box.fill(text)
        self.settle()

    def settle(self) -> None:
        """Wait until what is shown is the answer to what is asked."""
        self.page.locator('.columns[data-busy="false"]').wait_for()
        self.cards.first.wait_for()

    def answer(self, text: str | None = None) -> Any:
        """A context in which a query is answered, or one of this text; items that are listed without a query are not
        waited for."""

        def is_it(answer: Response) -> bool:
            body = answer.request.post_data_json if answer.url.endswith("/v1/search") else None
            return body is not None and has_query(body) and (text is None or body.get("text") == text.strip())

        return self.page.expect_response(is_it)

    def transfer(self, file: Path) -> Any:
        """A DataTransfer that holds the file, as a drop or the clipboard gives it."""
        data = base64.b64encode(file.read_bytes()).decode()
        return self.page.evaluate_handle(TRANSFER, [data, file.name])

    def drop(self, file: Path) -> None:
        data = self.transfer(file)
        self.page.dispatch_event("body", "dragover", {"dataTransfer": data})
        self.page.dispatch_event("body", "drop", {"dataTransfer": data})

    def paste(self, file: Path) -> None:
        self.page.evaluate(
            "(data) => dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))",
            self.transfer(file),
        )

    def titles(self) -> list[str]:
        return self.cards.locator(".card-title").all_inner_texts()

    def scrolls_sideways(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))

    def violations(self) -> list[str]:
        found: list[str] = self.page.evaluate("window.violations ?? []")
        return found


def has_query(body: dict[str, Any]) -> bool:
    """Whether a search compares, and does not list alone."""
    return not body.keys().isdisjoint({"text", "image", "id"})


def found_ids(answer: Response) -> list[str]:
    """Ids of a search's results, best first."""
    return [result["id"] for result in answer.json()["results"]]
