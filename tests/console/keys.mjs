// Walks the tower with the arrow keys: node keys.mjs BASE SESSION_COOKIE CHROMIUM
import { chromium } from "playwright-core";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [base, session, executablePath] = process.argv.slice(2);
const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "lilong-chromium-")), {
  executablePath, headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
await context.addCookies([{ name: "lilong_session", value: session, url: base }]);
const page = await context.newPage();
await page.goto(base + "/");
await page.locator(".tower .room").last().focus();
const tiers = [];
const tierOfFocus = () => page.evaluate(() => [...document.querySelectorAll(".tier")].indexOf(document.activeElement.closest(".tier")));
tiers.push(await tierOfFocus());
for (let i = 0; i < 6; i++) { await page.keyboard.press("ArrowUp"); tiers.push(await tierOfFocus()); }
await page.keyboard.press("Enter");
await page.waitForURL(/select=/);
const lit = await page.locator(".room.lit").count();
await context.close();
console.log(JSON.stringify({ tiers, lit }));
