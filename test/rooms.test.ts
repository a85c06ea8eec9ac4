/** The rooms of `arch`, `mm` and `src` in order: a file imports from its own room and from those before it, and never in a circle. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";
import { expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");

/** Folders and single files, the lowest first. What stands in a folder named here belongs to the longest name that fits. */
const ROOMS = [
  ...["isa", "presets", "time", "tlb", "memory", "walk", "fast-path", "cpu", "machine.ts", "index.ts"].map(
    (room) => `arch/${room}`,
  ),
  ...["lib", "kernel", "frames", "flush", "page-tables", "kernel-mm.ts", "vmalloc/areas", "vmalloc", "user"].map(
    (room) => `mm/${room}`,
  ),
  ...["percpu", "views", "snapshot", "verify", "index.ts"].map((room) => `mm/${room}`),
  ...["input", "files", "machine", "settings", "events", "report", "recording", "workloads/base"].map(
    (room) => `src/${room}`,
  ),
  ...["workloads/test-vmalloc", "workloads", "runs", "traces", "experiments", "timeline", "state", "output"].map(
    (room) => `src/${room}`,
  ),
  ...["inspect", "sweep", "command-line", "commands", "cli.ts", "index.ts"].map((room) => `src/${room}`),
];

const FILES = ["arch", "mm", "src"].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name))),
);

/** The files that `file` imports. */
function importsOf(file: string): string[] {
  return ts
    .preProcessFile(readFileSync(join(ROOT, file), "utf8"))
    .importedFiles.filter(({ fileName }) => fileName.startsWith("."))
    .map(({ fileName }) => relative(ROOT, resolve(ROOT, dirname(file), fileName)));
}

/** Position of a file's room; -1 when it is in none. */
function roomOf(file: string): number {
  let found = -1;
  ROOMS.forEach((room, at) => {
    const fits = file === room || file.startsWith(`${room}/`);
    if (fits && (found < 0 || room.length > ROOMS[found].length)) found = at;
  });
  return found;
}

const IMPORTS = new Map(FILES.map((file) => [file, importsOf(file)]));

it("every room has files, and every file a room", () => {
  expect(FILES.filter((file) => roomOf(file) < 0)).toEqual([]);
  expect(ROOMS.filter((_, at) => !FILES.some((file) => roomOf(file) === at))).toEqual([]);
});

it("rooms import from rooms before them", () => {
  const upwards = FILES.flatMap((file) =>
    importsOf(file)
      .filter((target) => roomOf(target) > roomOf(file))
      .map((target) => `${file} imports ${target}`),
  );
  expect(upwards).toEqual([]);
});

it("no file imports itself, by way of whatever others", () => {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
    if (done.has(file) || path.includes(file)) return;
    for (const target of IMPORTS.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of FILES) visit(file, []);
  expect(circles).toEqual([]);
});
