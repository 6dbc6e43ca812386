// The user's way through the dashboard, as a person goes it in Chromium: sign in, generate a
// key, copy it, use it, find it, revoke it and see each node confirm. Afterwards every page
// is judged by axe in both themes and at two widths.
//
// The pages are asked for over plain http under a name, as on a local network: browsers then
// have no navigator.clipboard, and the copy button must work all the same.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const { BASE, PROXY, TOKEN, NODES, SHOTS, CHROMIUM = "/usr/bin/chromium" } = process.env;
const nodes = NODES.split(",");
const evil = `<script>document.title="evil"</script>"'><img src=x onerror=document.title="evil">`;

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--host-resolver-rules=MAP gate.test 127.0.0.1"],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const page = await context.newPage();
page.setDefaultTimeout(60_000);
const faults = [];
page.on("console", (message) => { if (message.type() === "error") faults.push(message.text()); });
page.on("pageerror", (error) => faults.push(error.message));
page.on("request", (request) => { if (!request.url().startsWith(BASE)) faults.push(`asked for ${request.url()}`); });

const call = (key) => fetch(`${PROXY}/v1/chat`, { headers: { Authorization: `Bearer ${key}` } });
const step = (name) => console.log(`ok ${name}`);

try {
  await page.goto(`${BASE}/`);
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await page.getByText("Operators: sign in with a token").click();
  await page.getByLabel("Operator token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in with the token", exact: true }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  step("signed in with the operator token");

  await page.getByRole("link", { name: "API Keys" }).click();
  await page.getByRole("link", { name: "Generate New Key" }).first().click();
  await page.getByLabel("Name", { exact: true }).fill("Production Server");
  await page.getByText("Live", { exact: true }).click();
  await page.getByLabel("Environment").fill("production");
  await page.getByRole("button", { name: "Generate key", exact: true }).click();
  const field = page.getByLabel("The key", { exact: true });
  const key = await field.inputValue();
  assert.match(key, /^pk_live_[0-9A-Za-z]{38}$/);
  await page.getByRole("button", { name: "Copy", exact: true }).first().click();
  await page.getByText("Copied to the clipboard.").waitFor();
  assert.equal((await call(key)).status, 200);
  await page.getByText("The key works: last used").waitFor();
  step("the key works, and the page notices it");
  const done = page.getByRole("button", { name: "Done", exact: true });
  assert.equal(await done.isDisabled(), true);
  await page.getByText("I have stored the key").click();
  await done.click();
  await page.getByRole("heading", { name: "Production Server" }).waitFor();
  assert.equal((await page.content()).includes(key), false, "the key is shown again");
  step("generated a key, shown once");

  await page.getByRole("link", { name: "API Keys" }).first().click();
  await page.getByPlaceholder("Part of a name").click();
  await page.keyboard.press("Control+V");
  assert.equal(await page.getByPlaceholder("Part of a name").inputValue(), key);
  step("the clipboard holds the key, without https");

  await page.getByPlaceholder("Part of a name").fill("production s");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "Production Server" }).click();
  await page.getByRole("link", { name: "Revoke" }).click();
  await page.getByLabel("Reason").fill("leaked");
  await page.getByLabel("Type the name of this live key").fill("Production Server");
  await page.getByRole("button", { name: "Revoke", exact: true }).click();
  await page.getByText("No node accepts the key any more").waitFor();
  for (const name of nodes) {
    await page.getByRole("row", { name: new RegExp(`^${name} applied`) }).waitFor();
  }
  const refused = await call(key);
  assert.deepEqual([refused.status, (await refused.json()).error.code], [401, "key_revoked"]);
  step(`revoked, confirmed by ${nodes.join(", ")}`);

  await page.goto(`${BASE}/keys/new`);
  await page.getByText("It opens 1 of 1 route.").waitFor();
  await page.locator("input[name=scopes][value=read]").uncheck();
  await page.getByText("the rest needs read").waitFor();
  await page.getByText("Limits and restrictions").click();
  await page.locator("textarea[name=routes]").fill("/v1/chat\nnonsense");
  await page.getByText("only /v1/chat").waitFor();
  await page.getByText("No request meets nonsense").waitFor();
  step("the preview of a key follows the form");

  await page.goto(`${BASE}/keys/new`);
  await page.getByLabel("Name", { exact: true }).fill(evil);
  await page.getByLabel("Environment").fill(evil.slice(0, 100));
  await page.getByRole("button", { name: "Generate key", exact: true }).click();
  await page.getByText("I have stored the key").click();
  await page.getByRole("button", { name: "Done", exact: true }).click();
  await page.getByRole("heading", { name: evil }).waitFor();
  const evilPage = new URL(page.url()).pathname;
  step("foreign text is text");

  await page.goto(`${BASE}/keys?state=active`);
  await page.getByLabel(`Choose ${evil}`).check();
  await page.getByRole("button", { name: "Disable…", exact: true }).click();
  await page.getByLabel("Type the number of keys").fill("1");
  await page.getByRole("button", { name: "Disable", exact: true }).click();
  await page.getByText("The keys are disabled on every node").waitFor();
  step("disabled the ticked keys");

  for (const path of [
    "/account", "/accounts/new", "/accounts/default", "/tiers/new", "/users/new", "/webhooks/new", "/security/incidents/new", "/security/allowlist", "/tokens", "/link",
    `${evilPage}/edit`, `${evilPage}/rotate`, `${evilPage}/revoke`,
  ]) {
    await page.goto(`${BASE}${path}`);
    const form = page.locator("main form[method=post]").last();
    for (const field of await form.locator("input:not([type=hidden]):not([type=checkbox]):not([type=radio]):not([type=date]), textarea").all()) {
      if (await field.isVisible()) {
        await field.fill(evil);
      }
    }
    await form.evaluate((f) => { f.noValidate = true; });
    await Promise.all([page.waitForNavigation(), form.evaluate((f) => f.requestSubmit())]);
    assert.notEqual(await page.title(), "evil", path);
    assert.equal(await page.locator("main img[src=x]").count(), 0, path);
  }
  // The browser notes each refusal; everything else that it notes is a fault.
  faults.splice(0, faults.length, ...faults.filter((text) => !/status of 4(09|22)/.test(text)));
  step("hostile text in every field is refused or shown as text");

  await page.goto(`${BASE}/users/new`);
  await page.getByLabel("E-mail").fill("ann@example.com");
  await page.getByText("admin", { exact: true }).click();
  await page.getByRole("button", { name: "Add user", exact: true }).click();
  const link = new URL(await page.getByLabel("Send this link").inputValue());
  const other = await browser.newContext();
  const hers = await other.newPage();
  hers.setDefaultTimeout(60_000);
  await hers.goto(`${BASE}${link.pathname}${link.search}`);
  await hers.getByLabel("New password").fill("correct horse battery");
  await hers.getByRole("button").click();
  // The answer leads on to the overview by itself, and would interrupt a navigation before that.
  await hers.getByRole("heading", { name: "Overview" }).waitFor();
  await hers.goto(`${BASE}/second-factor`);
  await hers.getByRole("button", { name: "Set it up", exact: true }).click();
  await hers.getByRole("img", { name: "Code to scan" }).waitFor();
  await other.close();
  step("a user sets a password by the link, and sees the code for a second factor");

  await judge([
    "/", "/keys", "/usage?group_by=country", "/keys?q=production&state=revoked", "/keys/new", evilPage, `${evilPage}/edit`, `${evilPage}/rotate`, `${evilPage}/revoke`, "/usage",
    "/security", "/security/allowlist", "/security/hygiene", "/security/incidents", "/security/incidents/new", "/webhooks", "/webhooks/new", "/users", "/users/new", "/link", "/sessions", "/second-factor", "/tokens", "/audit", "/audit?outcome=denied", "/audit/verify", "/account", "/accounts", "/accounts/new", "/accounts/default", "/tiers", "/tiers/new", "/tiers/pro", "/cluster", "/keyring", "/backup", "/account/erasures", "/compliance", "/nothing",
  ]);
  await page.goto(`${BASE}/`);
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByRole("heading", { name: "Sign in to perfgate" }).waitFor();
  await page.goto(`${BASE}/keys`);
  await page.getByRole("heading", { name: "Sign in to perfgate" }).waitFor();
  await judge(["/signin"]);
  step("signed out");
  assert.deepEqual(faults, []);
} catch (error) {
  for (const tab of browser.contexts().flatMap((c) => c.pages())) {
    console.log(tab.url(), (await tab.locator("body").innerText().catch(() => "")).slice(0, 2000));
  }
  throw error;
} finally {
  await browser.close();
}

// judge runs axe on pages. It needs a context without the pages' policy, which forbids axe.
async function judge(paths) {
  const axe = await readFile(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8");
  const state = await context.storageState();
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      const own = await browser.newContext({ viewport: { width, height: 800 }, colorScheme, bypassCSP: true, storageState: state });
      const tab = await own.newPage();
      for (const path of paths) {
        await tab.goto(`${BASE}${path}`);
        await tab.evaluate(axe);
        const { violations } = await tab.evaluate(() => globalThis.axe.run());
        assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target)}`), [], `${path} in ${colorScheme} at ${width}`);
        assert.notEqual(await tab.title(), "evil");
        const wide = await tab.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${path} at ${width} is ${wide} px too wide`);
        if (SHOTS) {
          const name = path.replace(/[^a-z]+/gi, "-").replace(/^-|-$/g, "") || "overview";
          await tab.screenshot({ path: `${SHOTS}/${name}-${width}-${colorScheme}.png` });
        }
      }
      await own.close();
    }
  }
  step(`axe finds nothing on ${paths.length} pages, in both themes and at both widths`);
}
