// Builds into the Python package, so that its users need no Node. The same sources give the same bytes.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const SOURCES = ["index.html", "openapi.json", "package-lock.json", "package.json", "src", "tsconfig.json", "vite.config.ts"];
const SHIPPED = ["react", "react-dom", "scheduler"];

function files(path: string): string[] {
  return statSync(path).isDirectory() ? readdirSync(path).sort().flatMap((name) => files(join(path, name))) : [path];
}

// sources.sha256: what the build was made from (tests/server/test_front_end.py); licenses.txt: of what is in the bundle.
function accompany(): Plugin {
  return {
    name: "accompany",
    generateBundle() {
      const hash = createHash("sha256");
      for (const file of SOURCES.flatMap(files)) hash.update(`${file}\0`).update(readFileSync(file)).update("\0");
      this.emitFile({ type: "asset", fileName: "sources.sha256", source: `${hash.digest("hex")}\n` });
      const texts = SHIPPED.map((name) => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8")}`);
      this.emitFile({ type: "asset", fileName: "licenses.txt", source: texts.join("\n\n") });
    },
  };
}

export default defineConfig({
  plugins: [react(), accompany()],
  base: "./", // a proxy may serve the page under a prefix
  build: {
    outDir: "../ariel_lib/server/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: { proxy: { "/api": "http://127.0.0.1:8000", "/pages": "http://127.0.0.1:8000" } },
});
