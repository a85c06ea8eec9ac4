import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { parseLink } from "../../../src/view/model/link.ts";
import { Answerer, pictureOf } from "../../../src/view/model/picture.ts";
import { Session } from "../../../src/view/model/session.ts";
import { ROOT } from "../../source-files.ts";
import { temporaryFolder } from "../fixtures.ts";
import { CLI, mmulab } from "../run-cli.ts";

const folder = temporaryFolder();

/** Starts the command, fetches some files from what it serves, and ends it with Ctrl-C. */
async function serve(args: readonly string[], paths: readonly string[]) {
  const child = spawn(process.execPath, [CLI, "view", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  try {
    const line = await new Promise<string>((resolve) => child.stdout.once("data", (data) => resolve(String(data))));
    const { url } = JSON.parse(line) as { url: string };
    const answers = await Promise.all(paths.map((path) => fetch(new URL(path, url))));
    const got = answers.map(({ status, headers }) => `${status} ${headers.get("content-type")}`);
    child.kill("SIGINT");
    return { url, got, text: await answers[0].text(), exitCode: await exited };
  } finally {
    child.kill("SIGKILL");
  }
}

describe("mmulab view", () => {
  it("serves the page and nothing else on 127.0.0.1 until Ctrl-C", async () => {
    const paths = ["/", "/main.js", "/worker.js?x", "/style.css", "/../package.json", "/favicon.ico"];
    const { url, got, text, exitCode } = await serve(["mixed", "--ops", "50", "--seed", "3", "--json"], paths);
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#run=mixed&ops=50&seed=3&cpus=4$/);
    const script = "200 text/javascript; charset=utf-8";
    expect(got).toEqual([
      "200 text/html; charset=utf-8",
      script,
      script,
      "200 text/css; charset=utf-8",
      "404 null",
      "404 null",
    ]);
    expect(text).toContain("<title>mmulab");
    expect(exitCode).toBe(0);
  });

  it.each(["6.1", "7.3"])("begins with the version of Linux that it is told: --kernel %s", async (version) => {
    const args = ["module_load", "live=2", "--ops", "6", "--cpus", "2", "--kernel", version, "--json"];
    const { url, got } = await serve(args, ["/"]);
    expect(got).toEqual(["200 text/html; charset=utf-8"]);
    // What the page makes of the link: a machine with that kernel.
    const { scenario } = parseLink(new URL(url).hash.slice(1)) ?? {};
    if (scenario === undefined) throw new Error(`${url} names no scenario`);
    const session = new Session(scenario);
    session.goTo(40);
    expect(pictureOf(session, { cpu: null, address: null }).kernelVersion).toBe(version);
  });

  it("begins with the microarchitecture that it is told", async () => {
    const { url } = await serve(["mixed", "--ops", "6", "--preset", "zen4", "--json"], ["/"]);
    const { scenario } = parseLink(new URL(url).hash.slice(1)) ?? {};
    if (scenario === undefined) throw new Error(`${url} names no scenario`);
    expect(new Session(scenario).kernel.machine.preset.name).toBe("zen4");
  });

  it("begins with a preset from a file, with figures that were changed, and with settings of the machine", async () => {
    const file = join(folder.path, "mine.json");
    writeFileSync(file, JSON.stringify({ ...presetByName("zen4"), name: "mine" }));
    const figures = ["--preset", file, "--set", "tlbs.0.ways=4", "--set", "kernel.callCycles=7"];
    const args = ["mixed", "--ops", "6", ...figures, "--isolated", "1-2", "--policy", "deferred", "--json"];
    const { url, text } = await serve(args, ["/preset"]);
    const place = parseLink(new URL(url).hash.slice(1));
    if (place === null) throw new Error(`${url} names no scenario`);
    const answer = await new Answerer().answer(
      { kind: "open", ...place, presetFile: { name: file, text } },
      place.focus,
    );
    if ("error" in answer) throw new Error(answer.error);
    expect(answer.picture.machine).toBe(
      `mine from ${file} with tlbs.0.ways=4 kernel.callCycles=7, policy deferred, isolated 1,2`,
    );
    expect(answer.picture.tlb.structures[0]).toMatchObject({ ways: 4 });
  });

  it("runs a workload of one's own on the machine that it is told", async () => {
    const file = join(folder.path, "mine.ts");
    writeFileSync(file, "export default function* () {}\n");
    const { url } = await serve([file, "--cpus", "2", "--set", "costs.walk=30", "--pti", "--json"], ["/"]);
    expect(parseLink(new URL(url).hash.slice(1))?.scenario).toMatchObject({
      kind: "source",
      cpus: 2,
      set: ["costs.walk=30"],
      settings: { pti: "true" },
    });
  });

  it("serves the file that it is to open, and the policy under which the page may run code", async () => {
    const file = join(ROOT, "test/recordings/lazy_smp1_s1.jsonl.gz");
    const { url, got } = await serve([file, "--json"], ["/", "/opened", "/worker.js"]);
    expect(url).toMatch(/#file=lazy_smp1_s1.jsonl.gz$/);
    expect(got.slice(1)).toEqual(["200 application/octet-stream", "200 text/javascript; charset=utf-8"]);
  });

  it.each([
    [["--preset", "zen4"], "run=mixed&ops=400&seed=1&cpus=4&preset=zen4"],
    [["--set", "costs.walk=30"], "run=mixed&ops=400&seed=1&cpus=4&set=costs.walk%3D30"],
    [["--policy", "eager"], "run=mixed&ops=400&seed=1&cpus=4&policy=eager"],
    [["--cpus", "2", "--ops", "30"], "run=mixed&ops=30&seed=1&cpus=2"],
    [[], "story=stale-entry"],
  ])("begins with the workload mixed where %j asks for a machine and names nothing to run", async (args, link) => {
    const { url, got } = await serve([...args, "--port", "0", "--json"], ["/"]);
    expect(url.replace(/^.*#/, "")).toBe(link);
    expect(got).toEqual(["200 text/html; charset=utf-8"]);
  });

  it.each([
    [["package.json"], /package.json:1: not a recording/],
    [["README.md"], /README.md: is none of these/],
    [["none.gz"], /unknown story or workload 'none.gz', and no such file/],
    [["mixd"], /unknown story or workload 'mixd' \(did you mean mixed\?\)/],
    [["mixed", "live=3"], /mixed .*live/],
    [["mixed", "--preset", "zen44"], /unknown preset 'zen44' \(did you mean zen4\?\)/],
    [["mixed", "--preset", "mine.json"], /mine.json: no such file/],
    [["mixed", "--set", "costs.wlk=3"], /--set: unknown figure 'costs.wlk' \(did you mean costs.walk\?\)/],
    [["mixed", "--set", "tlbs.0.ways=7"], /--set tlbs.0.ways 7: expected 1, 2, 4, 8 or 16 ways for tree-plru/],
    [["mixed", "--isolated", "1"], /--isolated: only the flush policy deferred heeds it/],
    [["mixed", "--policy", "invlpgb"], /invlpgb/],
    [["stale-entry", "--set", "costs.walk=30"], /--set is for workloads/],
    [["stale-entry", "--lazy-max", "3"], /--lazy-max is for workloads/],
    [["stale-entry", "--cpus", "3"], /--cpus is for workloads/],
    [["stale-entry", "live=3"], /stale-entry is a story and takes no parameters/],
    [
      ["stale-entry", "--preset", "zen4"],
      /--preset is for workloads: stale-entry brings its machine along; a workload takes it: mmulab view mixed --preset/,
    ],
    [["mixed", "--topology", "2x64x1"], /--topology: has 128 CPUs, expected at most 64/],
    [["mixed", "--topology", "1x1x1", "--cpus", "2"], /--topology 1x1x1: has room for 1 of 2 CPUs/],
    [["--cpus", "65"], /--cpus.*65.*1 to 64/],
  ])("refuses %j in one line", (args, message) => {
    const { status, stderr } = mmulab("view", ...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });
});
