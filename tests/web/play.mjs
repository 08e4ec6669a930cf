// node play.mjs FILE.glb OUT WIDTH HEIGHT TIME...: pictures, silhouettes and vertices of a glTF file at some times, as
// three.js in Chromium plays it. OUT/textured_0.png, OUT/silhouette_0.png, OUT/vertices_0_0.f64 (time, head), ...
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { serve, withPage } from "./browser.mjs";

const [file, out, width, height, ...times] = process.argv.slice(2);
const { server, url } = await serve({ "/model.glb": file });
try {
  const size = { width: Number(width), height: Number(height) };
  const { result, errors } = await withPage(`${url}/play.html`, size, async (page) => {
    await page.waitForFunction(() => window.ready);
    return page.evaluate(([w, h, t]) => window.play("/model.glb", w, h, t), [size.width, size.height, times.map(Number)]);
  });
  for (const [i, frame] of result.entries()) {
    for (const kind of ["textured", "silhouette"])
      writeFileSync(join(out, `${kind}_${i}.png`), Buffer.from(frame[kind].split(",")[1], "base64"));
    for (const [k, values] of frame.vertices.entries())
      writeFileSync(join(out, `vertices_${i}_${k}.f64`), new Uint8Array(new Float64Array(values).buffer));
  }
  console.log(JSON.stringify({ targets: result[0]?.targets ?? [], errors }));
} finally {
  server.close();
}
