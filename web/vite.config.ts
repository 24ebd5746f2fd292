import { defineConfig, loadEnv } from "vite";

export default defineConfig(({ mode }) => {
  // Where `npm run dev` finds a running `llave serve`.
  const server = loadEnv(mode, ".", "LLAVE_").LLAVE_SERVER ?? "http://127.0.0.1:8000";
  return {
    base: "./",
    build: {
      outDir: "../src/llave/serving/static",
      emptyOutDir: true,
      target: "es2022",
      // light-dark() as it is; for older browsers the builder would write it out at twice the size.
      cssTarget: ["chrome123", "firefox128", "safari17.5"],
      // A data: address is allowed for pictures alone; everything else is a file of its own.
      assetsInlineLimit: 0,
      // The polyfill would be a script for browsers that lack WebGL2 as well.
      modulePreload: { polyfill: false },
    },
    server: { proxy: Object.fromEntries(["/v1", "/v2", "/gallery", "/health"].map((path) => [path, server])) },
  };
});
