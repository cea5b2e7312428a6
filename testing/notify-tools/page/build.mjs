// Builds the page of mailpit: node build.mjs DIRECTORY, in which the source of mailpit is.
import * as esbuild from "esbuild";
import vue from "esbuild-plugin-vue-next";
import { sassPlugin } from "esbuild-sass-plugin";

const directory = process.argv[2];

await esbuild.build({
  absWorkingDir: directory,
  entryPoints: ["server/ui-src/app.js"],
  outdir: "server/ui/dist",
  bundle: true,
  minify: true,
  define: {
    __VUE_OPTIONS_API__: "true",
    __VUE_PROD_DEVTOOLS__: "false",
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
  },
  plugins: [vue(), sassPlugin({ silenceDeprecations: ["import"], quietDeps: true })],
  loader: { ".woff": "file", ".woff2": "file" },
  logLevel: "error",
});
