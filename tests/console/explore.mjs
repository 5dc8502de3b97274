// Tries limits of a signal by keyboard, field and slider: node explore.mjs BASE SESSION_COOKIE CHROMIUM PATH
import { chromium } from "playwright-core";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [base, session, executablePath, path] = process.argv.slice(2);
const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "lilong-chromium-")), {
  executablePath, headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
await context.addCookies([{ name: "lilong_session", value: session, url: base }]);
const page = await context.newPage();
const problems = [], asked = [];
page.on("pageerror", (error) => problems.push(String(error)));
page.on("console", (message) => { if (message.type() === "error") problems.push(message.text()); });
await page.goto(base + path);
page.on("request", (request) => { if (request.url().includes("limit=")) asked.push(request.url()); });
const said = [];
const next = async (before) => {
  await page.waitForFunction((old) => document.querySelector("#said").textContent !== old, before);
  said.push(await page.locator("#said").textContent());
};
const tell = () => page.locator("#said").textContent();
let before = await tell();
await page.locator("#limit").fill("900");
await next(before);
before = await tell();
const slider = page.locator("input[type=range]");
await slider.focus();
for (let i = 0; i < 30; i++) await page.keyboard.press("ArrowRight");
const moved = await page.locator("#limit").inputValue();
await next(before);
const spoken = await slider.getAttribute("aria-valuetext");
const marks = await page.locator(".chart .mark").count();
await page.locator("#limit").fill("nonsense");
await page.waitForSelector("#tried [role=alert]");
const rows = await page.locator("#tried table tbody tr").count();
await context.close();
console.log(JSON.stringify({ said, moved, spoken, marks, rows, asked: asked.length, problems }));
