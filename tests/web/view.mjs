// Drives the viewer in a real Chromium: node view.mjs URL FOLDER CHROMIUM; prints what it saw as JSON.
import { chromium } from "playwright-core";

const [url, folder, executablePath] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
const page = await browser.newPage({ viewport: { width: 960, height: 520 } });
const errors = [];
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
page.on("pageerror", (error) => errors.push(String(error)));
page.on("request", (request) => {
  const host = new URL(request.url()).hostname;
  if (!["localhost", "127.0.0.1", ""].includes(host)) errors.push(`fetches ${request.url()}`);
});

const middle = { x: 440, y: 190, width: 160, height: 280 };  // inside of the scene, below the browser's warning
const shot = async (name) => (await page.screenshot({ path: `${folder}/${name}.png`, clip: middle })).toString("base64");
const status = () => page.locator("p:has(strong)").first().innerText();
const until = async (test, what) => {
  for (let k = 0; k < 150; k++) {
    if (await test()) return;
    await page.waitForTimeout(100);
  }
  throw new Error(`waited for ${what}`);
};
const frame = async () => Number(/frame (\d+)/.exec(await status())?.[1] ?? -1);
// A picture of the scene that is another one than before. Only pixels tell what WebGL drew.
const drawn = async (before, name) => {
  let now = before;
  await until(async () => (now = await shot(name)) !== before, `${name} to be drawn`);
  return now;
};
const choose = async (now, then) => {
  await page.locator(`input[value="${now}"]`).first().click();
  await page.getByRole("option", { name: then, exact: true }).click();
};

await page.goto(url);
await page.waitForSelector("#bars", { timeout: 40000 });
await page.locator("canvas").first().waitFor();
const seen = {};
const box = page.locator(".mantine-NumberInput-input").first();
await box.fill("17");
await box.press("Enter");
await until(async () => (await frame()) === 17, "frame 17");
seen.bars = await page.locator("#bars").innerText();
await page.waitForTimeout(300);
const coarse = await drawn("", "coarse");
await choose("coarse", "detail");
const detail = await drawn(coarse, "detail");
await choose("detail", "texture");
const texture = await drawn(detail, "texture");
seen.differ = new Set([coarse, detail, texture]).size === 3;
await choose("Beside the picture", "Over the picture");
await drawn(texture, "over");

await page.getByRole("button", { name: "Play" }).click();
const frames = new Set();
await until(async () => frames.add(await frame()).size >= 4, "four frames of playing");
seen.played = [...frames];
await page.getByRole("button", { name: "Pause" }).click();
await page.getByRole("button", { name: "Copy parameters" }).click();
await page.getByRole("button", { name: "Copy JSON" }).click();
seen.copied = await page.locator("textarea").first().inputValue();
await browser.close();
console.log(JSON.stringify({ ...seen, errors }));
