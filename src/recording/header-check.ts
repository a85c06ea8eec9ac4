/** Whether the constants in a recording's header are those of one kernel of a version that is emulated. */
import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import {
  DEFAULT_KERNEL_VERSION,
  KERNEL_VERSIONS,
  type KernelVersion,
  kernelVersionOfRelease,
  MODULES_END,
  MODULES_VADDR,
  VMALLOC_END,
  VMALLOC_START,
  vmallocConfig,
} from "../../mm/index.ts";
import { MAX_VA_SIZE_PAGES } from "../../mm/vmalloc/areas/vmap-node.ts";
import { VMAP_MAX_ALLOC } from "../../mm/vmalloc/vmalloc-config.ts";
import type { RecordingHeader } from "./line-schemas.ts";

/** The version of the kernel that was recorded; null for one that is not emulated. A header that does not say is of 6.12. */
export function recordedVersion({ kernel }: RecordingHeader): KernelVersion | null {
  if (kernel === undefined) return DEFAULT_KERNEL_VERSION;
  const [, release = kernel] = /^Linux \S+ (\S+)/.exec(kernel) ?? [];
  return kernelVersionOfRelease(release);
}

/** What is wrong with the first constant that does not fit the others, or null. */
export function headerProblem(header: RecordingHeader): string | null {
  const version = recordedVersion(header);
  if (version === null) {
    const known = KERNEL_VERSIONS.map(({ name }) => name).join(", ");
    return `"kernel" is ${JSON.stringify(header.kernel)}: expected a release of ${known}`;
  }
  const { smp, num_online_cpus, num_possible_cpus, nr_cpu_ids, NR_CPUS, vmap_bbmap_bits } = header;
  const { blockPages, purgeThresholdPages } = vmallocConfig(
    {
      onlineCpus: num_online_cpus,
      possibleCpus: Math.max(num_online_cpus, num_possible_cpus),
      nrCpus: NR_CPUS,
    },
    version,
  );
  const addresses = {
    vmalloc_start: VMALLOC_START,
    vmalloc_end: VMALLOC_END,
    modules_vaddr: MODULES_VADDR,
    modules_end: MODULES_END,
  };
  for (const [name, expected] of Object.entries(addresses)) {
    const value = header[name as keyof typeof addresses];
    if (value === undefined || value === expected) continue;
    return `"${name}" is ${formatLinearAddress(value)}: expected ${formatLinearAddress(expected)}`;
  }
  const same: [keyof RecordingHeader, number][] = [
    ["num_online_cpus", smp],
    ["vmap_bbmap_bits", blockPages],
    ["vmap_block_size", vmap_bbmap_bits * header.page_size],
    ["vmap_max_alloc", VMAP_MAX_ALLOC],
    ["vmap_purge_threshold", purgeThresholdPages],
    ["max_va_size_pages", version.hasVmapNodes ? MAX_VA_SIZE_PAGES : 0],
  ];
  for (const [name, expected] of same) {
    if (header[name] === undefined || header[name] === expected) continue;
    return `"${name}" is ${String(header[name])}: expected ${expected}, as the other constants say`;
  }
  const order: [keyof RecordingHeader, number, number][] = [
    ["pinned_cpu", 0, smp - 1],
    ["num_possible_cpus", num_online_cpus, nr_cpu_ids],
    ["nr_cpu_ids", num_possible_cpus, Math.max(NR_CPUS, num_possible_cpus)],
    ["ioremap_max_page_shift", 12, 63],
  ];
  for (const [name, low, high] of order) {
    const value = Number(header[name]);
    if (value < low || value > high) return `"${name}" is ${value}: expected ${low} to ${high}`;
  }
  return null;
}
