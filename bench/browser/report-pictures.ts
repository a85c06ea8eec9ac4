/** Plots of experiments' HTML reports as pictures: what `mmulab experiment NAME --html FILE` writes, opened in the browser. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { packageFile } from "../../src/files/program-files.ts";
import type { OpenPage } from "./open-page.ts";

/** A plot of a report. */
export interface Plot {
  /** What stands after `mmulab experiment`. */
  readonly experiment: readonly string[];
  /** Which plot of the report, from 0. */
  readonly figure: number;
}

/** The plot as the browser shows it, in the scheme and at the size that it has. */
export async function plotPicture({ page }: OpenPage, { experiment, figure }: Plot): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), "mmulab-plot-"));
  try {
    const html = join(folder, "report.html");
    const command = [
      fileURLToPath(packageFile("dist/src/cli.js")),
      "experiment",
      ...experiment,
      "--html",
      html,
      "--quiet",
    ];
    execFileSync(process.execPath, command);
    await page.goto(pathToFileURL(html).href);
    const plot = (await page.$$("figure"))[figure];
    if (plot === undefined) throw new Error(`${experiment.join(" ")}: the report has no plot ${figure}`);
    return await plot.screenshot();
  } finally {
    rmSync(folder, { recursive: true });
  }
}
