/** A step of `npm run build`: writes the man page beside the built files. */
import { writeFileSync } from "node:fs";
import { commandTree } from "../command-line/read-commands.ts";
import { packageFile } from "../files/program-files.ts";
import { manPage } from "../help/man-page.ts";
import { versionText } from "../provenance/program-version.ts";
import { COMMANDS } from "./index.ts";
import { wholeProgram } from "./whole-program.ts";

const FILE = packageFile("dist/mmulab.1");

writeFileSync(FILE, manPage(commandTree(await wholeProgram(COMMANDS)), versionText().split(" ")[0]));
