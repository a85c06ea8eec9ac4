/** A step of `npm run build`: the command is the one that is bundled. */
import { rmSync, writeFileSync } from "node:fs";
import { packageFile } from "./program-files.ts";

const COMMAND = "dist/src/cli.js";

writeFileSync(packageFile(COMMAND), '#!/usr/bin/env node\nimport "../command/src/cli.js";\n');
rmSync(packageFile(`${COMMAND}.map`), { force: true });
