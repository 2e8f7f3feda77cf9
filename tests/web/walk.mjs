// Walks the pages of `nimactl web` in Chromium as a person would, and asks axe about each.
//
//   node walk.mjs MODULES CHROMIUM ADDRESS PROFILE [SCREENSHOTS]
//
// Prints a line of JSON: {"faults": [sentences], "pages": how many were looked at}.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [modules, executablePath, address, profile, screenshots] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const faults = [];
let pages = 0;
const expect = (true_, told) => true_ || faults.push(told);

const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
const page = await context.newPage();
page.setDefaultTimeout(15000);
page.on("dialog", (dialog) => { faults.push(`a text ran: ${dialog.message()}`); dialog.dismiss(); });
const complaints = [];
page.on("console", (line) => /Content Security|Refused/.test(line.text()) && complaints.push(line.text()));
page.on("request", (request) => {
  if (!request.url().startsWith(new URL(address).origin)) outside.push(request.url());
});
let outside = [];

// --- in, with the key; nobody else -------------------------------------------------------------

const origin = new URL(address).origin;
expect((await page.goto(`${origin}/`)).status() === 401, "it lets in without a key");
await page.goto(address);
const base = page.url();
expect(/^http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]{24}\/$/.test(base), `the key leads to ${base}`);
expect((await page.evaluate(() => document.cookie)) === "", "a script can read the cookie");

const heard = [];
const other = createServer((request, response) => {
  heard.push(request.headers.cookie ?? "");
  response.setHeader("Content-Type", "text/html");
  response.end(`<form method=post action="${base}forget"><input name=id value=1><input name=purge value=1>
    <button>go</button></form><iframe src="${base}"></iframe>`);
});
await new Promise((done) => other.listen(0, "127.0.0.1", done));
const answers = [];
page.on("response", (response) => response.url().startsWith(base) && answers.push(response.status()));
await page.goto(`http://127.0.0.1:${other.address().port}/`);
answers.length = 0;
await page.click("button");
expect(answers.length && answers.every((s) => s === 403), `another port got ${answers}`);
expect(heard.every((cookie) => !/nimad/.test(cookie)), "another port saw the cookie");
other.closeAllConnections();
other.close();
expect(complaints.length === 1, "another page could frame ours");
outside = [];
complaints.length = 0;

// --- every page, in both themes, wide and narrow -------------------------------------------------

const look = async (path, name) => {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of [1040, 390]) {
      await page.setViewportSize({ width, height: width < 500 ? 844 : 800 });
      const answer = await page.goto(base + path);
      pages += 1;
      const where = `${path || "status"} (${colorScheme}, ${width})`;
      expect(answer.status() < 400, `${where}: ${answer.status()}`);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(wider <= 0, `${where} is ${wider} pixels too wide`);
      await page.evaluate(axe);
      const found = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));
      for (const one of found.violations) {
        if (!["serious", "critical"].includes(one.impact)) continue;
        faults.push(`${where}: ${one.id}: ${one.help}: ${one.nodes[0].html.slice(0, 150)}`);
      }
      if (screenshots && name) {
        const height = width < 500 ? 844 : 800;
        const file = `${screenshots}/web-${name}-${width < 500 ? "narrow" : "wide"}-${colorScheme}.png`;
        await page.screenshot({ path: file, clip: { x: 0, y: 0, width, height } });
      }
    }
  }
};
await look("", "status");
await look("search?q=What+is+Pilar+allergic+to%3F", "search");
await look("memory/65", "memory");
await look("feed", "feed");
await look("timeline", "timeline");
await look("sources", "sources");
await look("checks?run=audit", "checks");
for (const path of [
  "search", "search?q=quantum+chromodynamics", "feed?namespace=nowhere", "timeline?at=2026-02",
  "timeline?at=2026-02-21", "checks", "checks?run=doctor", "forget?id=3", "sources/graph/rollback",
]) {
  await look(path);
}
await page.emulateMedia({ colorScheme: "light" });
await page.setViewportSize({ width: 1040, height: 800 });

// --- what a person does ----------------------------------------------------------------------------

const text = () => page.textContent("main");
await page.goto(base);
await page.keyboard.press("Tab");
expect(await page.evaluate(() => document.activeElement.className === "skip"), "Tab does not skip");
await page.keyboard.press("Enter");
expect(page.url() === `${base}#main`, `the skip link leads to ${page.url()}`);

await page.click("nav >> text=Search");
await page.fill("input[name=q]", "Where is the spare key?");
await page.keyboard.press("Enter");
await page.waitForURL(/search\?q=Where/);
expect(/Pilar/.test(await text()), "the search finds nothing");
expect((await page.locator("article .bar").count()) > 10, "there are no bars");
const number = (await page.textContent("article .number")).slice(1);
await page.click("article .number");
await page.waitForURL(new RegExp(`memory/${number}$`));
expect((await page.locator("svg.graph a").count()) > 2, "nothing is drawn around it");
await page.locator("svg.graph a").first().click();
await page.waitForURL((url) => !url.href.endsWith(`/${number}`));
await page.goBack();

await page.click("text=Forget it");
await page.waitForURL(/forget\?id=/);
await page.check("input[name=purge]");
await page.click("button.danger");
await page.waitForSelector("text=1 memory forgotten");
expect(/No trace of it/.test(await text()), "the receipt does not tell of the purge");
expect((await page.goto(`${base}memory/${number}`)).status() === 404, "it is still there");

await page.goto(`${base}timeline`);
await page.locator("svg.columns a").first().click();
await page.waitForURL(/timeline\?at=/);
expect((await page.locator("article").count()) > 3, "the period holds nothing");

await page.goto(`${base}search?q=kettle`);
await page.click(".theme button");
await page.waitForSelector('html[data-theme="dark"]');
expect(/search\?q=kettle$/.test(page.url()), `the theme leads to ${page.url()}`);
const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
expect(paper === "rgb(21, 24, 26)", `the dark theme is ${paper}`);

await page.goto(`${base}sources`);
await page.click("text=Compare again");
await page.waitForSelector("text=/Identical|differs/");
await page.goto(`${base}sources`);
await page.click("text=Roll back");
await page.waitForURL(/rollback$/);
await page.click("button.danger");
await page.waitForSelector("text=graph is rolled back");
expect(/memories/.test(await text()), "nothing tells what was removed");
await page.goto(`${base}sources`);
expect(/rolled back/.test(await text()), "the list does not tell of it");

expect(complaints.length === 0, `the policy stopped something: ${complaints}`);
expect(outside.length === 0, `loaded from elsewhere: ${outside}`);
await context.close();
console.log(JSON.stringify({ faults, pages }));
