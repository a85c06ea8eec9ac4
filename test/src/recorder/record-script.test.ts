/** The recording script against a folder that stands for tracefs: what it writes where, what it asks, and what it takes back. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CALL_DEFINITIONS } from "../../../mm/index.ts";
import { recordScript } from "../../../src/recorder/record-script.ts";
import { temporaryFolder } from "../fixtures.ts";

const { path: root } = temporaryFolder();
const SCRIPT = recordScript();
const SYMBOLS = ["__vmalloc_node_range_noprof", "vfree", "vm_unmap_aliases", "flush_tlb_kernel_range", "cpa_flush"];

/** A machine of two CPUs, as files. @param symbols the functions that its kernel has */
function fakeMachine(symbols: readonly string[], release = "6.12.117-test") {
  const here = mkdtempSync(join(root, "machine-"));
  const file = (path: string, text: string): void => {
    mkdirSync(join(here, path, ".."), { recursive: true });
    writeFileSync(join(here, path), text);
  };
  file("record.sh", SCRIPT);
  file("proc/sys/kernel/osrelease", `${release}\n`);
  file("proc/sys/kernel/kptr_restrict", "0\n");
  file("proc/meminfo", "MemTotal:        1000000 kB\n");
  file("proc/kallsyms", symbols.map((name) => `ffffffff81000000 T ${name}\n`).join(""));
  file("proc/vmallocinfo", "0xffffc90000000000-0xffffc90000003000   12288 f+0x1/0x2 pages=2 vmalloc\n");
  for (const cpu of [0, 1]) {
    file(`sys/devices/system/cpu/cpu${cpu}/topology/core_id`, `${cpu}\n`);
    file(`sys/devices/system/cpu/cpu${cpu}/topology/physical_package_id`, "0\n");
  }
  file("tracefs/kprobe_events", "");
  file("tracefs/events/vmalloc/x", "");
  const instance = "tracefs/instances";
  mkdirSync(join(here, instance), { recursive: true });
  return { here, read: (path: string) => readFileSync(join(here, path), "utf8") };
}

/** `mkdir` of an instance makes the kernel's files in it; `rmdir` takes them away with it. */
function withInstances(here: string): NodeJS.ProcessEnv {
  const bin = join(here, "bin");
  mkdirSync(bin, { recursive: true });
  const groups = ["mmulab", "vmalloc", "power", "power/cpu_idle", "sched", "sched/sched_switch", "exceptions"];
  const files = [...groups, "exceptions/page_fault_user"].map((name) => `"$1/events/${name}"`).join(" ");
  const mkdir = `#!/bin/sh\n/bin/mkdir "$1" && /bin/mkdir -p "$1/options" "$1/per_cpu/cpu0" ${files} && : >"$1/trace_pipe" &&
: >"$1/events/sched/enable" && : >"$1/events/exceptions/enable" &&
echo '  a-1 [000] ..... 1.000000: vfree_exit: (f <- vfree)' >"$1/trace" && echo 'dropped events: 7' >"$1/per_cpu/cpu0/stats"\n`;
  const rmdir = `#!/bin/sh\ncp -r "$1" "${here}/left" && rm -r "$1"\n`;
  for (const [name, text] of Object.entries({ mkdir, rmdir })) writeFileSync(join(bin, name), text, { mode: 0o755 });
  return {
    ...process.env,
    PATH: `${bin}:${process.env.PATH}`,
    TRACEFS: join(here, "tracefs"),
    PROC: join(here, "proc"),
    SYS: join(here, "sys"),
  };
}

const isRoot = process.getuid?.() === 0;

describe("the script of mmulab record-script", () => {
  it("is plain POSIX shell with a probe for each call that is defined", () => {
    expect(spawnSync("sh", ["-n"], { input: SCRIPT, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
    for (const [name, { functions }] of Object.entries(CALL_DEFINITIONS)) {
      for (const { symbol } of functions) expect(SCRIPT).toContain(`probe ${name} ${symbol} `);
    }
    const check = spawnSync("shellcheck", ["-s", "sh", "-"], { input: SCRIPT, encoding: "utf8" });
    if (check.error === undefined) expect(check.stdout).toBe("");
  });

  it.runIf(isRoot && process.arch === "x64")("sets probes up, records, and takes everything back", () => {
    const { here, read } = fakeMachine(SYMBOLS);
    const output = join(here, "out.txt");
    const args = ["record.sh", "--yes", "--seconds", "1", "--output", output];
    const result = spawnSync("sh", args, { cwd: here, env: withInstances(here), encoding: "utf8" });
    expect(result).toMatchObject({ status: 0, stderr: "" });
    const events = read("tracefs/kprobe_events").split("\n");
    expect(events).toContain(
      "p:mmulab/vmalloc_enter __vmalloc_node_range_noprof size=%di:u64 align=%si:u64 start=%dx:x64 end=%cx:x64 " +
        "gfp=%r8:x32 flags=$stack1:x64 node=$stack2:s32 caller=$stack3:symbol",
    );
    expect(events).toContain("r:mmulab/vmalloc_exit __vmalloc_node_range_noprof addr=$retval:x64");
    expect(events).toContain("p:mmulab/cpa_flush_enter cpa_flush addr=+0(+0(%di)):x64 pages=+32(%di):u64");
    // Each probe that was made is removed.
    const made = events.flatMap((line) => /^[pr]:mmulab\/(\w+)/.exec(line)?.[1] ?? []);
    const removed = events.flatMap((line) => /^-:mmulab\/(\w+)$/.exec(line)?.[1] ?? []);
    expect(made).toHaveLength(2 * SYMBOLS.length);
    expect(removed.sort()).toEqual(made.sort());
    expect(existsSync(join(here, "tracefs/instances/mmulab"))).toBe(false);
    expect(read("left/tracing_on")).toBe("0\n");
    expect(read("left/events/mmulab/enable")).toBe("0\n");
    expect(read("left/options/overwrite")).toBe("0\n");
    expect(read("proc/sys/kernel/kptr_restrict")).toBe("0\n");
    const lines = readFileSync(output, "utf8").split("\n");
    expect(lines).toContain("# release: 6.12.117-test");
    expect(lines).toContain("# lazy_max_pages: 16384");
    expect(lines).toContain("# topology: cpu 1 package 0 core 1 node 0");
    expect(lines).toContain("# lost: 0 7");
    expect(lines.filter((line) => line.startsWith("# vmallocinfo-"))).toHaveLength(2);
    expect(lines).toContain("  a-1 [000] ..... 1.000000: vfree_exit: (f <- vfree)");
  });

  it.runIf(isRoot && process.arch === "x64")("records page faults and switches of tasks where it is asked to", () => {
    for (const [options, wanted] of [
      [[], [false, false]],
      [["--faults"], [true, false]],
      [["--switches"], [false, true]],
    ] as const) {
      const { here, read } = fakeMachine(SYMBOLS);
      const output = join(here, "out.txt");
      const args = ["record.sh", "--yes", "--seconds", "1", "--output", output, ...options];
      const result = spawnSync("sh", args, { cwd: here, env: withInstances(here), encoding: "utf8" });
      expect(result).toMatchObject({ status: 0, stderr: "" });
      const events = ["exceptions/page_fault_user", "sched/sched_switch"].map((name) => `left/events/${name}/enable`);
      expect(events.map((name) => existsSync(join(here, name)))).toEqual(wanted);
      for (const [i, name] of events.entries()) if (wanted[i]) expect(read(name)).toBe("1\n");
      // Groups are turned off as wholes, and this kernel has no page_fault_kernel.
      expect(read("left/events/sched/enable")).toBe("0\n");
      const notes = readFileSync(output, "utf8").split("\n");
      expect(notes.includes("# not traced: exceptions/page_fault_kernel")).toBe(wanted[0]);
    }
  });

  it.runIf(isRoot)("changes nothing when it is not allowed to", () => {
    const { here, read } = fakeMachine(SYMBOLS);
    const result = spawnSync("sh", ["record.sh"], {
      cwd: here,
      env: withInstances(here),
      encoding: "utf8",
      input: "n\n",
    });
    expect(result).toMatchObject({ status: 1, stderr: "record.sh: nothing was changed\n" });
    expect(read("tracefs/kprobe_events")).toBe("");
    expect(existsSync(join(here, "mmulab-record.txt.part"))).toBe(false);
  });

  it.runIf(isRoot && process.arch === "x64")("takes everything back when it is interrupted", async () => {
    const { here, read } = fakeMachine(SYMBOLS);
    const child = spawn("sh", ["record.sh", "--yes", "--seconds", "60"], { cwd: here, env: withInstances(here) });
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    const tracing = join(here, "tracefs/instances/mmulab/tracing_on");
    const until = Date.now() + 20_000;
    while (Date.now() < until && !(existsSync(tracing) && readFileSync(tracing, "utf8") === "1\n")) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const since = Date.now();
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    // Nothing that it started is left behind to sleep on.
    expect(Date.now() - since).toBeLessThan(30_000);
    expect(existsSync(join(here, "tracefs/instances/mmulab"))).toBe(false);
    expect(read("tracefs/kprobe_events").match(/^-:mmulab/gm)).toHaveLength(2 * SYMBOLS.length);
    expect(existsSync(join(here, "mmulab-record.txt"))).toBe(false);
    expect(existsSync(join(here, "mmulab-record.txt.part"))).toBe(false);
  });

  it.runIf(isRoot)("refuses a kernel that is too old", () => {
    const { here } = fakeMachine(SYMBOLS, "5.4.0-90-generic");
    const result = spawnSync("sh", ["record.sh", "--yes"], { cwd: here, env: withInstances(here), encoding: "utf8" });
    expect(result).toMatchObject({ status: 1, stderr: "record.sh: Linux 5.4.0-90-generic: expected 5.10 or newer\n" });
  });

  it.runIf(isRoot)("says whether tracefs is not mounted, or the kernel has no probes", () => {
    const { here } = fakeMachine(SYMBOLS);
    const { TRACEFS: _, ...env } = withInstances(here);
    const start = () => spawnSync("sh", ["record.sh", "--yes"], { cwd: here, env, encoding: "utf8" });
    const place = join(here, "sys/kernel/tracing");
    const unmounted = `record.sh: no tracefs is mounted: mount -t tracefs tracefs ${place}\n`;
    expect(start()).toMatchObject({ status: 1, stderr: unmounted });
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, "tracing_on"), "0\n");
    const without = `record.sh: ${place} has no kprobe_events: the kernel is built without CONFIG_KPROBE_EVENTS\n`;
    expect(start()).toMatchObject({ status: 1, stderr: without });
  });
});
