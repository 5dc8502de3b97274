// Opens pages in a real Chromium and tells of each: axe violations, requests that left the host, script errors, sideways overflow.
// node walk.mjs BASE SESSION_COOKIE CHROMIUM OUT_FOLDER PLAN.json   (plan: [{path, language, theme, width, name, session, anonymous}])
import { chromium } from "playwright-core";
import { createRequire } from "node:module";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [base, session, executablePath, out, planFile] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "lilong-chromium-")), {
  executablePath, headless: true, bypassCSP: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const results = [];
for (const step of JSON.parse(readFileSync(planFile, "utf8"))) {
  await context.clearCookies();
  await context.addCookies([
    ...(session && !step.anonymous ? [{ name: "lilong_session", value: step.session ?? session, url: base }] : []),
    { name: "lilong_language", value: step.language, url: base },
    { name: "lilong_theme", value: step.theme, url: base },
  ]);
  const page = await context.newPage();
  const outside = [], errors = [];
  page.on("request", (request) => { if (!request.url().startsWith(base) && !request.url().startsWith("data:")) outside.push(request.url()); });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  await page.setViewportSize({ width: step.width, height: 900 });
  const response = await page.goto(base + step.path, { waitUntil: "load" });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"] }));
  if (step.name) await page.screenshot({ path: join(out, step.name + ".png"), fullPage: true });
  results.push({
    path: step.path, language: step.language, theme: step.theme, width: step.width, status: response.status(), outside, errors, overflow,
    violations: found.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`),
  });
  await page.close();
}
await context.close();
console.log(JSON.stringify(results));
