/** A visitor's way through the page in Firefox: what was seen on it, as JSON. `node walk.mjs URL FIREFOX` */
import puppeteer from "puppeteer-core";

const [url, executablePath] = process.argv.slice(2);
const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
const seen = { errors: [] };
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  await page.setViewport({ width: 1280, height: 900 });
  const text = (selector) => page.$eval(selector, (element) => element.textContent);
  const count = (selector) => page.$$eval(selector, (all) => all.length);
  const until = (expression) => page.waitForFunction(expression);

  await page.goto(url);
  await until("document.querySelectorAll('.card').length >= 60");
  seen.items = await text("[role=status]");
  await page.evaluate("scrollTo(0, document.body.scrollHeight)");
  await until("document.querySelectorAll('.card').length === 69");
  seen.scrolled = await count(".card");
  await page.evaluate("scrollTo(0, 0)");

  await page.type("[type=search]", "It rains on the harbour all day.");
  await until("document.querySelector('.card-score')");
  seen.found = await text(".card");
  await page.click(".card .card-open");
  await page.waitForSelector("dialog .near-item .near-score");
  seen.dialog = await text("dialog .path");
  await page.keyboard.press("Escape");
  await until("!document.querySelector('dialog')");

  // The file is not kept, but looked at: where downloads go differs from machine to machine.
  await page.evaluate(() => {
    const made = URL.createObjectURL.bind(URL);
    URL.createObjectURL = (blob) => {
      void blob.text().then((content) => (window.saved = content));
      return made(blob);
    };
  });
  await page.focus(".card .card-open");
  await page.keyboard.press("x");
  await page.waitForSelector(".picked");
  seen.chosen = await text(".picked-count");
  await page.click("[aria-label='Save as CSV']");
  await until("window.saved");
  seen.saved = await page.evaluate("window.saved");

  await page.evaluate(() => [...document.querySelectorAll(".tab")].find((tab) => tab.textContent === "Map").click());
  await page.waitForSelector(".map-canvas, .map [role=alert]");
  seen.webgl = (await count(".map-canvas")) === 1;
  await page.waitForSelector(".legend button");
  await page.evaluate("document.querySelector('[aria-label=\"Search by a text\"]').focus()");
  await page.keyboard.press("Escape");
  await until("document.querySelector('[role=status]').textContent === '69 items'");
  await page.select(".map-tools select", "shape");
  await until("[...document.querySelectorAll('.legend button')].some((one) => one.textContent.includes('circle'))");
  await page.evaluate(() =>
    [...document.querySelectorAll(".legend button")].find((one) => one.textContent.includes("circle")).click(),
  );
  await until("document.querySelector('[role=status]').textContent === '16 items'");
  seen.filtered = await text("[role=status]");
  seen.address = new URL(page.url()).hash;
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
