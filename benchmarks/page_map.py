"""The page over many items: how long a page of them takes, and a frame of the map, in a browser without a GPU.

The items are synthetic: heaps in the plane, each of a topic, with years, in folders. Everything else is real: the
index, its server, and the page in Chromium, whose drawing is done by the processor here.
Run: python -m benchmarks.page_map --out benchmarks/results/page_map.json
"""

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet

if TYPE_CHECKING:
    import httpx
    from playwright.sync_api import Page

    from llave.search.index import Index

__all__ = ["browse_sheet", "map_sheet"]

CHUNK = 10_000
HEAPS = 60
SOURCE = "/synthetic"
FRAMES = """async ([steps, kind]) => {
  const box = document.querySelector(".map-box");
  const gl = document.querySelector(".map-canvas").getContext("webgl2");
  const frame = () => new Promise(requestAnimationFrame);
  const { left, top, width, height } = box.getBoundingClientRect();
  const at = { clientX: left + width / 2, clientY: top + height / 2, bubbles: true, cancelable: true };
  const times = [];
  if (kind === "pan") box.dispatchEvent(new PointerEvent("pointerdown", { ...at, pointerId: 1, button: 0 }));
  for (let step = 0; step < steps; step++) {
    const start = performance.now();
    const turn = Math.sin(step / 10);
    if (kind === "zoom") box.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: -40 * Math.cos(step / 30) }));
    else box.dispatchEvent(new PointerEvent("pointermove", { ...at, pointerId: 1, clientX: at.clientX + 200 * turn }));
    await frame();
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits until it is drawn
    times.push(performance.now() - start);
  }
  if (kind === "pan") box.dispatchEvent(new PointerEvent("pointerup", { ...at, pointerId: 1 }));
  return times;
}"""
RENDERER = """() => {
  const gl = document.createElement("canvas").getContext("webgl2");
  return gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info").UNMASKED_RENDERER_WEBGL);
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from llave.models.open import load_model
    from llave.serving.app import AppOptions
    from llave.serving.engine import Engine
    from tests.serving.running import running

    found: dict[str, Any] = {**provenance(), "items": args.items, "steps": args.steps}
    found["load"] = round(os.getloadavg()[0], 1)  # others compute here, too
    with tempfile.TemporaryDirectory() as folder:
        model = load_model("nano")
        index = make_index(Path(folder), model, args.items)
        with running(Engine(model, name="nano"), AppOptions(index=index)) as server:
            found["browse"] = measure_browsing(server.client, args.items)
            found |= measure_map(server.url, args.steps)
    text = json.dumps(found, indent=1) + "\n"
    sys.stdout.write(text)
    if args.out:
        args.out.write_text(text)


def make_index(folder: Path, model: Any, items: int) -> "Index":
    """An index of so many rows, with a map."""
    from llave.encode.cache import model_fingerprint
    from llave.search.index import Index
    from llave.search.info import IndexInfo
    from llave.search.projection import write_map
    from llave.search.store import Row, row_id

    rng = np.random.default_rng(0)
    dimension = model.get_embedding_dimension()
    index = Index.create(
        folder / "index", IndexInfo(model="nano", fingerprint=model_fingerprint(model), dimension=dimension)
    )
    centre_HC = rng.uniform(-0.85, 0.85, (HEAPS, 2))
    spread_H = rng.uniform(0.02, 0.12, HEAPS)
    heap_N = rng.choice(HEAPS, items, p=rng.dirichlet(np.full(HEAPS, 1.5)))
    xy_N2 = np.clip(centre_HC[heap_N] + rng.normal(size=(items, 2)) * spread_H[heap_N, None], -1, 1)
    year_N = (1950 + (xy_N2[:, 0] + 1) * 35 + rng.normal(size=items) * 4).round().astype(int)
    ids: list[str] = []
    for start in range(0, items, CHUNK):
        vector_BD = rng.standard_normal((min(CHUNK, items - start), dimension)).astype(np.float32)
        vector_BD /= np.linalg.norm(vector_BD, axis=1, keepdims=True)
        rows = []
        for number, vector_D in enumerate(vector_BD, start):
            heap = int(heap_N[number])
            path = f"year {year_N[number]}/topic {heap}/{number:06}.jpg"
            row = Row(
                id=row_id(SOURCE, path),
                source=SOURCE,
                key=path,
                kind="image",
                text="",
                path=path,
                file=path,
                stamp=f"1:{(number * 7919) % items}:0",
                content=f"{number:064x}",
                digest="",
                fields={"topic": f"topic {heap}", "area": f"area {heap % 8}", "year": int(year_N[number])},
                vector_D=vector_D,
            )
            rows.append(row)
        index.store.upsert(rows)
        ids += [row.id for row in rows]
    write_map(index.path, ids, np.asarray(xy_N2, np.float32))
    index.store.optimize(exact_below=10 * items, settings=dataclasses.replace(index.info.settings))
    return index


def measure_browsing(client: "httpx.Client", items: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a first page of 60 in an order, which is made then, and medians of later ones."""
    orders: dict[str, dict[str, Any]] = {
        "by path": {},
        "by a number, the highest first": {"sort": "-year"},
        "by the time of the file, the newest first": {"sort": "-modified"},
        "at random": {"seed": 7},
        "a filter, by path": {"filter": "area = 'area 3' and year >= 1980"},
    }
    found = {}
    for name, body in orders.items():

        def page(offset: int, body: dict[str, Any] = body) -> float:
            return timed(lambda: client.post("/v1/search", json={**body, "limit": 60, "offset": offset}))

        first = page(0)
        found[name] = {"first_ms": first, "next_ms": statistics.median(page(60 * n) for n in range(1, 21))}
        if "filter" not in body:
            found[name]["last_ms"] = statistics.median(page(items - 60 * n) for n in range(1, 21))
    first = timed(lambda: client.get("/v1/folders"))
    again = statistics.median(timed(lambda: client.get("/v1/folders")) for _ in range(20))
    return {**found, "folders": {"first_ms": first, "next_ms": again}}


def timed(ask: Callable[[], "httpx.Response"]) -> float:
    start = time.perf_counter()
    response = ask()
    assert response.status_code == 200, response.text
    return (time.perf_counter() - start) * 1000


def measure_map(url: str, steps: int) -> dict[str, Any]:
    """Milliseconds from the address to the map, and of frames while it is moved and zoomed."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        shown = timed_map(page, url)  # the server makes the map's answer, too
        page.goto("about:blank")
        again = timed_map(page, url)
        found: dict[str, Any] = {"browser": browser.version, "renderer": page.evaluate(RENDERER)}
        frames = {}
        for kind in ("pan", "zoom"):
            page.evaluate(FRAMES, [20, kind])  # whatever is compiled the first time
            times = page.evaluate(FRAMES, [steps, kind])
            frames[kind] = {"p50_ms": float(np.median(times)), "p95_ms": float(np.quantile(times, 0.95))}
        browser.close()
    return {**found, "map": {"first_ms": shown, "again_ms": again}, "frames": frames}


def timed_map(page: "Page", url: str) -> float:
    start = time.perf_counter()
    page.goto(f"{url}/#view=map")
    page.locator(".map-labels span").first.wait_for(timeout=120_000)
    return (time.perf_counter() - start) * 1000


def browse_sheet(found: dict[str, Any]) -> str:
    """What a page of 60 items takes, as Markdown."""
    rows = []
    for name, times in found["browse"].items():
        last = f"{times['last_ms']:.0f}" if "last_ms" in times else ""
        rows.append((name, f"{times['first_ms']:.0f}", f"{times['next_ms']:.0f}", last))
    title = f"{found['items']:,} items, over HTTP, in ms ({about(found)}):"
    columns = ("60 items", "the first time", "the next pages", "the last pages")
    return Sheet(title=title, caption="", columns=columns, rows=rows, words=frozenset({"60 items"})).markdown()


def map_sheet(found: dict[str, Any]) -> str:
    """What the map takes, in a sentence."""
    frames = found["frames"]
    moved, zoomed = (f"{frames[kind]['p50_ms']:.0f} ms ({frames[kind]['p95_ms']:.0f})" for kind in ("pan", "zoom"))
    first, again = (f"{found['map'][name] / 1000:.1f} s" for name in ("first_ms", "again_ms"))
    return (
        f"With {found['items']:,} points, a frame takes {moved} in the median (95th percentile) while one moves and "
        f"{zoomed} while one zooms, with as many of them drawn as this machine draws in time. "
        f"The map is there {again} after its address was given, and after {first} where the "
        f"server has yet to make it. Chromium {found['browser']}, drawn by the processor ({found['renderer']}); load "
        f"average {found['load']}; {about(found)}.\n"
    )


def about(found: dict[str, Any]) -> str:
    return f"{found['machine']}; commit {found['commit'][:7]}{'+' * found['commit'].endswith('+')}"


if __name__ == "__main__":
    main()
