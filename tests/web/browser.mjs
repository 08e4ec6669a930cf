// A real Chromium on a page of this folder (or any address), with what its console complains of.
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const FOLDER = dirname(fileURLToPath(import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".glb": "model/gltf-binary" };
const NAMES = ["chromium", "chromium-browser", "google-chrome"];
const PLACES = ["/usr/bin", "/usr/local/bin", "/snap/bin", "/opt/google/chrome"];

export const executable = () =>
  process.env.CHROMIUM ?? PLACES.flatMap((p) => NAMES.map((n) => join(p, n))).find(existsSync);

/** Serves this folder, and `files` (address to path) beside it; on a free port of this machine only. */
export async function serve(files = {}) {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, "http://x").pathname);
    const file = files[path] ?? join(FOLDER, path);
    if (!existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

/** Opens a page, hands it to `work` and closes everything; returns what `work` did and the console's errors. */
export async function withPage(url, size, work) {
  const browser = await chromium.launch({
    executablePath: executable(),
    args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
  });
  try {
    const page = await browser.newPage({ viewport: size });
    const errors = [];
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(url);
    return { result: await work(page), errors };
  } finally {
    await browser.close();
  }
}
