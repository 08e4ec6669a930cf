// Pictures for the documentation, see training/view_page.py: node picture.mjs CHROMIUM URL OUT.png view|report [FRAME SURFACE]
import { chromium } from "playwright-core";

const [executablePath, url, out, kind, frame, surface] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
const page = await browser.newPage({ viewport: { width: 1280, height: kind === "view" ? 760 : 1000 } });
await page.goto(url);
if (kind === "view") {
  await page.waitForSelector("#bars", { timeout: 60000 });
  await page.waitForTimeout(3000);
  const warning = page.locator(".mantine-Notification-closeButton");  // of software rendering
  if (await warning.count()) await warning.first().click();
  const box = page.locator(".mantine-NumberInput-input").first();
  await box.fill(frame);
  await box.press("Enter");
  await page.locator('input[value="coarse"]').first().click();
  await page.getByRole("option", { name: surface, exact: true }).click();
  await page.waitForTimeout(5000);
}
if (kind === "report") await page.evaluate(() => Promise.all([...document.images].map((image) => image.decode())));
await page.screenshot({ path: out });
await browser.close();
