// Uploads files by the page and tells where it led: node upload.mjs BASE SESSION_COOKIE CHROMIUM PAGE PLAN.json
// (plan: {files: [path], target, branch, message, folder, cancel})
import { chromium } from "playwright-core";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [base, session, executablePath, path, planFile] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile, "utf8"));
const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "lilong-chromium-")), {
  executablePath, headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
await context.addCookies([{ name: "lilong_session", value: session, url: base }]);
const page = await context.newPage();
const problems = [];
page.on("pageerror", (error) => problems.push(String(error)));
page.on("console", (message) => { if (message.type() === "error") problems.push(message.text()); });
await page.goto(base + path);
await page.setInputFiles("#file", plan.files);
const rows = await page.locator("tbody tr").count();
if (plan.folder) await page.fill("#folder", plan.folder);
if (plan.message) await page.fill("#message", plan.message);
if (plan.target) await page.check(`input[name=target][value=${plan.target}]`);
if (plan.branch) await page.fill("#branch", plan.branch);
if (plan.cancel) {
  await page.route("**/api/hub/objects/**", () => {}); // the bytes never arrive
  await page.click("button.primary");
  await page.waitForFunction(() => [...document.querySelectorAll("progress")].some((bar) => bar.value >= 0.25));
  await page.click("[data-stop]");
  await page.waitForSelector("[role=alert]:not([hidden])");
} else {
  await page.click("button.primary");
  await page.waitForURL((url) => !url.pathname.includes("/upload/"), { timeout: 60000 }).catch(() => {});
}
const said = await page.locator("[role=alert]:not([hidden])").allTextContents();
console.log(JSON.stringify({ rows, path: new URL(page.url()).pathname, said, problems }));
await context.close();
