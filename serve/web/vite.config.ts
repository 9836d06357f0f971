import { defineConfig } from "vite";

// Everything is served by the appliance itself under a strict Content-Security-Policy, so nothing is
// inlined: no data: fonts, no module preload polyfill.
export default defineConfig({
  base: "/",
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022" },
  server: { proxy: { "/api": "http://127.0.0.1:8642", "/v1": "http://127.0.0.1:8642" } },
});
