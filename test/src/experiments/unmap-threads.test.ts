import { describe, expect, it } from "vitest";
import { column, rows, run } from "./small-runs.ts";

describe("unmap-threads", () => {
  const cells = rows(run("unmap-threads", { cpus: "8", threads: "1,2,4,8", loops: "200" }), "loops");
  const nsOf = (way: string): number[] =>
    column(
      cells.filter((row) => row.way === way),
      "loopNs",
    );

  it("has eager vunmap wait for one lock: each thread more makes all of them slower", () => {
    const eager = nsOf("vunmap, eager");
    for (let i = 1; i < eager.length; i++) expect(eager[i]).toBeGreaterThan(1.3 * eager[i - 1]);
  });

  it("has vm_map_ram take about the same whatever the number of threads, as its blocks belong to a CPU", () => {
    const own = nsOf("vm_map_ram");
    expect(Math.max(...own)).toBeLessThan(1.5 * Math.min(...own));
  });

  it("shares a flush among very many lazy vunmaps: even alone they cost a fraction of eager ones", () => {
    const [eager] = nsOf("vunmap, eager");
    const [lazy] = nsOf("vunmap, lazy");
    expect(lazy).toBeLessThan(eager / 4);
  });

  it("maps as many pages as it is told to, and each costs more", () => {
    const nsOfPages = (pages: string): number =>
      Number(rows(run("unmap-threads", { cpus: "1", threads: "1", pages }), "loops")[2].loopNs);
    expect(nsOfPages("16")).toBeGreaterThan(nsOfPages("1") + 15 * 3);
  });

  it("leaves out numbers of threads for which there are not enough CPUs", () => {
    const few = rows(run("unmap-threads", { cpus: "2", threads: "1,2,4", loops: "8" }), "loops");
    expect(few.map(({ threads }) => threads)).toEqual([1, 2, 1, 2, 1, 2]);
  });
});
