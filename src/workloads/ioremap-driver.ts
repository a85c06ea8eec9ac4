/**
 * The `ioremap_driver` workload: devices are probed and removed. A probe maps the device's register ranges (BARs, 4 KiB to
 * 64 MiB, large ones with 2 MiB pages), reads and writes registers, and takes buffers from vmalloc.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { integerParameter } from "../input/parameters.ts";
import type { WorkloadCode, WorkloadThread } from "./base/context.ts";
import { threadWorkload } from "./base/thread-workload.ts";

/** Device memory lies in the hole below 4 GiB. */
const DEVICE_PHYS = 0xc000_0000;
const DEVICE_END = 0xf000_0000;
/** Sizes of a device's ranges, as log2 of their bytes. */
const BAR_SHIFTS = [12, 12, 14, 16, 20, 21, 24, 26] as const;
const BARS_MAX = 4;
/** An uncached access to a register costs about this much more than a cached one. */
const REGISTER_CYCLES = 700;

interface Device {
  readonly bars: { readonly address: number; readonly sizeBytes: number }[];
  readonly ring: number;
}

interface Shared {
  readonly live: number;
  readonly registers: number;
  readonly devices: Device[];
}

/** Probing and removing devices. */
export const ioremapDriver = threadWorkload<Shared>({
  name: "ioremap_driver",
  summary: "devices probed and removed: ioremap of 4 KiB to 64 MiB, register accesses, rings from vmalloc",
  parameters: [
    { name: "live", kind: "integer", default: 16, low: 1, high: 10_000, summary: "devices that are there at a time" },
    { name: "registers", kind: "integer", default: 32, low: 0, high: 1_000_000, summary: "register accesses a probe" },
  ],
  setUp: (_, parameters) => ({
    live: integerParameter(parameters, "live"),
    registers: integerParameter(parameters, "registers"),
    devices: [],
  }),
  *thread(thread, shared) {
    for (let i = 0; i < thread.operations; i++) {
      yield* probe(thread, shared);
      if (shared.devices.length <= shared.live) continue;
      const [removed] = shared.devices.splice(thread.random.between(0, shared.devices.length - 1), 1);
      for (const { address } of removed.bars) yield* thread.iounmap(address);
      if (removed.ring !== 0) yield* thread.vfree(removed.ring);
    }
  },
});

function* probe(thread: WorkloadThread, shared: Shared): WorkloadCode {
  const { random } = thread;
  const bars: Device["bars"] = [];
  for (let bar = random.between(1, BARS_MAX); bar > 0; bar--) {
    const sizeBytes = 2 ** BAR_SHIFTS[random.between(0, BAR_SHIFTS.length - 1)];
    // A BAR is aligned to its size, as PCI demands.
    const places = Math.floor((DEVICE_END - DEVICE_PHYS) / sizeBytes);
    const phys = DEVICE_PHYS + random.between(0, places - 1) * sizeBytes;
    const address = yield* thread.ioremap(phys, sizeBytes);
    if (address !== 0) bars.push({ address, sizeBytes });
  }
  const ring = yield* thread.vmalloc(random.between(1, 64) * PAGE_SIZE);
  if (ring !== 0) thread.store(ring, ring | 0);
  for (let i = 0; i < shared.registers && bars.length > 0; i++) {
    const { address, sizeBytes } = bars[random.between(0, bars.length - 1)];
    const register = address + random.between(0, sizeBytes / 4 - 1) * 4;
    thread.spend(REGISTER_CYCLES);
    // Nothing answers at the device's addresses: reads give all ones, writes are lost.
    if (i % 2 === 0) thread.expect(register, -1);
    else thread.store(register, i);
  }
  shared.devices.push({ bars, ring });
}
