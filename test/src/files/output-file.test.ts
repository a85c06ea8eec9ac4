/** Outputs: what stands at their path is replaced only by a whole file, and devices, links and inputs are not destroyed. */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { OutputFile, writeOutputFile } from "../../../src/files/output-file.ts";
import { checkOutputs, outputTarget } from "../../../src/files/output-target.ts";
import { temporaryFolder } from "../fixtures.ts";
import { CLI, mmulab } from "../run-cli.ts";

const { path: root } = temporaryFolder();
const folder = (): string => mkdtempSync(join(root, "case-"));

describe("an output that is a regular file", () => {
  it("takes the place of the old one only when it is whole, with the old one's permissions", () => {
    const file = join(folder(), "report.json");
    writeFileSync(file, "old");
    chmodSync(file, 0o640);
    const output = new OutputFile(file);
    output.write("new");
    output.write(new Uint8Array([0x21]));
    expect(readFileSync(file, "utf8")).toBe("old");
    output.finish();
    expect(readFileSync(file, "utf8")).toBe("new!");
    expect(statSync(file).mode & 0o777).toBe(0o640);
    expect(readdirSync(join(file, ".."))).toEqual(["report.json"]);
  });

  it("leaves the old one alone and nothing else behind when it is abandoned", () => {
    const file = join(folder(), "report.json");
    writeFileSync(file, "old");
    const output = new OutputFile(file);
    output.write("x".repeat(3 << 20));
    output.abandon();
    output.abandon();
    expect(readFileSync(file, "utf8")).toBe("old");
    expect(readdirSync(join(file, ".."))).toEqual(["report.json"]);
  });

  it("is written through symbolic links, also one that leads to nothing yet", () => {
    const here = folder();
    mkdirSync(join(here, "real"));
    symlinkSync("real/data", join(here, "second"));
    symlinkSync("second", join(here, "first"));
    for (const text of ["once", "twice"]) {
      writeOutputFile(join(here, "first"), text);
      expect(readFileSync(join(here, "real/data"), "utf8")).toBe(text);
    }
    expect(lstatSync(join(here, "first")).isSymbolicLink()).toBe(true);
    expect(lstatSync(join(here, "second")).isSymbolicLink()).toBe(true);
    expect(readdirSync(join(here, "real"))).toEqual(["data"]);
  });

  it("is refused with one line where it cannot be", () => {
    const here = folder();
    symlinkSync("b", join(here, "a"));
    symlinkSync("a", join(here, "b"));
    const refusal = (file: string) => () => checkOutputs([{ what: "--save", file }]);
    expect(refusal(join(here, "no/such/file"))).toThrow(/^cannot write .*file: its folder does not exist$/);
    expect(refusal(here)).toThrow(/^cannot write .*: it is a directory$/);
    expect(refusal(join(here, "a"))).toThrow(/^cannot write .*: its symbolic links lead in a circle$/);
    expect(refusal("/dev/null/file")).toThrow(/^cannot write .*: a part of its path is not a directory$/);
    expect(refusal(join(here, "x".repeat(300)))).toThrow(/^cannot write .*: its name is too long$/);
  });

  it("is removed half-written when the process is ended from outside, by whatever signal", async () => {
    const here = folder();
    const arguments_ = ["run", "--ops", "1000000", "--quiet", "--events", join(here, "events.txt")];
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"] as const) {
      const child = spawn(process.execPath, [CLI, ...arguments_], { stdio: "ignore" });
      const ended = new Promise((resolve) => child.on("close", (_, by) => resolve(by)));
      while (readdirSync(here).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      child.kill(signal);
      expect(await ended).toBe(signal);
      for (let tries = 0; tries < 1000 && readdirSync(here).length > 0; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect(readdirSync(here), signal).toEqual([]);
    }
  });

  it("takes away what a process that is no more has left of it, and nothing of one that runs", () => {
    const here = folder();
    const { pid } = spawnSync(process.execPath, ["--version"]);
    for (const name of [`out.${pid}-1.part`, `out.${process.pid}-999.part`, `outer.${pid}-1.part`]) {
      writeFileSync(join(here, name), "half");
    }
    writeOutputFile(join(here, "out"), "whole");
    expect(readdirSync(here).sort()).toEqual(["out", `out.${process.pid}-999.part`, `outer.${pid}-1.part`].sort());
  });
});

describe("an output that is a device or a pipe", () => {
  it("is written as it is, and stays what it was", () => {
    const device = statSync("/dev/null").rdev;
    writeOutputFile("/dev/null", "gone");
    expect(statSync("/dev/null").rdev).toBe(device);
    const fifo = join(folder(), "fifo");
    spawnSync("mkfifo", [fifo]);
    const script = `cat "$1" & "$2" "$3" run --ops 50 --quiet --timeline "$1"; wait`;
    const piped = spawnSync("sh", ["-c", script, "sh", fifo, process.execPath, CLI], { encoding: "utf8" });
    expect(JSON.parse(piped.stdout)).toHaveProperty("traceEvents");
    expect(statSync(fifo).isFIFO()).toBe(true);
  });

  it("that is full ends the command with one line and exit code 2, whichever output it is", () => {
    const here = folder();
    for (const name of ["events.txt", "events.csv", "events.jsonl", "events.parquet"]) {
      symlinkSync("/dev/full", join(here, name));
    }
    const outputs = [
      ...["txt", "csv", "jsonl", "parquet"].map((ending) => ["run", "--events", join(here, `events.${ending}`)]),
      ["run", "--flushes", join(here, "events.csv")],
      ["run", "--timeline", "/dev/full"],
      ["run", "--save", "/dev/full"],
      ["inspect", "tlb", "--save", "/dev/full"],
      ["experiment", "page-tables", "--html", "/dev/full"],
    ];
    for (const [command, ...rest] of outputs) {
      const sizes =
        command === "experiment" ? [] : ["--ops", "200", ...(rest[0] === "--flushes" ? ["--lazy-max", "0"] : [])];
      const result = mmulab(command, ...rest, ...sizes, "--quiet");
      expect(result, rest.join(" ")).toMatchObject({ status: 2, stdout: "" });
      expect(result.stderr).toMatch(/^mmulab: cannot write [^\n]*: the disk is full\n$/);
    }
    expect(readdirSync(here)).toHaveLength(4);
  });

  it("may be standard output, after or before the report", () => {
    const out = join(folder(), "out");
    const script = `exec "$1" "$2" run --ops 50 --timeline /dev/stdout > "$3"`;
    expect(spawnSync("sh", ["-c", script, "sh", process.execPath, CLI, out]).status).toBe(0);
    const text = readFileSync(out, "utf8");
    expect(text).toContain('{"ph":"X"');
    expect(text).toMatch(/^\]}\n# mmulab \{.*\}\nmixed: 4 CPUs/m);
  });
});

describe("an output that is something else as well", () => {
  it("is refused: an input, another output, or where standard output goes, by any name", () => {
    const here = folder();
    const input = join(here, "input.state");
    writeFileSync(input, "state");
    linkSync(input, join(here, "hard"));
    symlinkSync("input.state", join(here, "soft"));
    for (const name of ["input.state", "hard", "soft", "./input.state"]) {
      const output = { what: "--save", file: join(here, name) };
      expect(() => checkOutputs([output], [{ what: "--load", file: input }]), name).toThrow(
        /^--save .*: is the same file as --load.*, which is read as well$/,
      );
    }
    symlinkSync("new", join(here, "to-new"));
    const twice = [join(here, "new"), join(here, "to-new")].map((file, i) => ({ what: `--output${i}`, file }));
    expect(() => checkOutputs(twice)).toThrow(
      /^--output1 .*: is the same file as --output0 .*, which is written as well$/,
    );
    expect(readFileSync(input, "utf8")).toBe("state");
    const script = `exec "$1" "$2" run --ops 50 --timeline "$3" > "$3"`;
    const out = join(here, "out");
    const redirected = spawnSync("sh", ["-c", script, "sh", process.execPath, CLI, out], { encoding: "utf8" });
    expect(redirected.status).toBe(2);
    expect(redirected.stderr).toMatch(
      /^mmulab: cannot write .*: standard output goes there \(\/dev\/stdout names it\)\n$/,
    );
  });

  it("is accepted where it destroys nothing", () => {
    const null_ = { what: "--save", file: "/dev/null" };
    expect(() => checkOutputs([null_, null_, { what: "--events", file: undefined }], [null_])).not.toThrow();
    expect(outputTarget("/dev/fd/1")).toMatchObject({ kind: "descriptor", descriptor: 1 });
    expect(existsSync("/dev/null")).toBe(true);
  });
});

const SMALL_DISK = 'mount -t tmpfs -o size=64k tmpfs "$1" && cd "$1"';
const canMount = spawnSync("unshare", ["-rm", "sh", "-c", SMALL_DISK, "sh", root]).status === 0;

describe("a full disk", () => {
  it.runIf(canMount)("keeps what was there and nothing half-written", () => {
    const here = folder();
    const script = `${SMALL_DISK} || exit 9; echo old > e.txt; echo old > m.state; echo old > e.parquet
      for what in "events e.txt" "save m.state" "events e.parquet"; do
        set -- "$1" "$2" "$3" $what; "$2" "$3" run --ops 3000 --quiet --$4 $5; echo "exit $?" >&2; done
      ls; cat e.txt m.state e.parquet
      head -c 300000 /dev/zero > fill 2>/dev/null; "$2" "$3" run --help > help; echo "exit $?" >&2`;
    const result = spawnSync("unshare", ["-rm", "sh", "-c", script, "sh", here, process.execPath, CLI], {
      encoding: "utf8",
    });
    expect(result.stdout).toBe("e.parquet\ne.txt\nm.state\nold\nold\nold\n");
    const lines = result.stderr.trimEnd().split("\n");
    for (const [i, name] of ["e.txt", "m.state", "e.parquet"].entries()) {
      expect(lines.slice(i * 2, i * 2 + 2)).toEqual([`mmulab: cannot write ${name}: the disk is full`, "exit 2"]);
    }
    expect(lines.slice(-2)).toEqual(["mmulab: cannot write standard output: the disk is full", "exit 2"]);
  });
});
