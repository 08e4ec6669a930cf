// Khronos' glTF validator: prints its report of a file as JSON.
import { readFileSync } from "node:fs";
import { validateBytes } from "gltf-validator";

const report = await validateBytes(new Uint8Array(readFileSync(process.argv[2])), { maxIssues: 50 });
console.log(JSON.stringify(report));
