// Lighthouse judges how well people with disabilities can use the main pages: 0.95 at least.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { once } from "node:events";
import lighthouse from "lighthouse";
import { chromium } from "playwright-core";

const { BASE, TOKEN, CHROMIUM = "/usr/bin/chromium" } = process.env;
const least = 0.95;
const desktop = { formFactor: "desktop", screenEmulation: { mobile: false, width: 1280, height: 800, deviceScaleFactor: 1, disabled: false } };

const free = createServer().listen(0, "127.0.0.1");
await once(free, "listening");
const { port } = free.address();
free.close();
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--host-resolver-rules=MAP gate.test 127.0.0.1", `--remote-debugging-port=${port}`],
});
try {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(`${BASE}/signin`);
  await page.getByText("Operators: sign in with a token").click();
  await page.getByLabel("Operator token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in with the token", exact: true }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  const Cookie = (await context.cookies()).map((c) => `${c.name}=${c.value}`).join("; ");
  const low = [];
  for (const path of ["/", "/keys", "/keys/new", "/usage?group_by=country", "/security", "/audit"]) {
    const { lhr } = await lighthouse(`${BASE}${path}`, {
      port, onlyCategories: ["accessibility"], logLevel: "error", disableStorageReset: true, extraHeaders: { Cookie }, ...desktop,
    });
    assert.equal(lhr.runtimeError, undefined, path);
    assert.equal(lhr.finalDisplayedUrl, `${BASE}${path}`);
    const { score } = lhr.categories.accessibility;
    console.log(`ok Lighthouse: ${path} has ${score}`);
    if (score < least) {
      low.push(`${path} has ${score}: ${Object.values(lhr.audits).filter((a) => a.score === 0).map((a) => a.id)}`);
    }
  }
  assert.deepEqual(low, []);
} finally {
  await browser.close();
}
