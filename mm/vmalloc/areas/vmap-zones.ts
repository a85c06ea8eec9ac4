/** Which vmap node an address belongs to (`addr_to_node_id`): the address space is dealt out to the nodes zone by zone. */
import { isPowerOfTwo } from "../../../arch/isa/power-of-two.ts";
import { VMALLOC_START } from "../../lib/memory-layout.ts";

/** 2^64 - 2^48: what the 48-bit form of an upper-half address leaves out. */
const UPPER_HALF_OFFSET = 0xffffn << 48n;
/** Zones from `VMALLOC_START` on whose numbers are small integers to the host. */
const INTEGER_ZONES = 2 ** 30;

/** The zones of `zoneSizeBytes` bytes that `nodes` nodes take turns in. */
export class VmapZones {
  private readonly zoneSizeBytes: number;
  private readonly nodes: number;
  private readonly zoneOffset: number;
  /** 1 / `zoneSizeBytes`; NaN for a size by which zones cannot be told by a product. */
  private readonly zonesPerByte: number;
  /** The node of `VMALLOC_START`. */
  private readonly firstNode: number;
  /** What is left of a number when it is divided by a number of nodes that is a power of two; 0 for others. */
  private readonly nodeMask: number;

  constructor(zoneSizeBytes: number, nodes: number) {
    this.zoneSizeBytes = zoneSizeBytes;
    this.nodes = nodes;
    this.zoneOffset = offsetModulo(zoneSizeBytes, nodes);
    const isExact = isPowerOfTwo(zoneSizeBytes) && VMALLOC_START % zoneSizeBytes === 0;
    this.zonesPerByte = isExact ? 1 / zoneSizeBytes : Number.NaN;
    this.firstNode = (Math.floor(VMALLOC_START / zoneSizeBytes) + this.zoneOffset) % nodes;
    this.nodeMask = isPowerOfTwo(nodes) ? nodes - 1 : 0;
  }

  /** The number of the node. */
  nodeIdOf(address: number): number {
    const { nodes, nodeMask } = this;
    if (nodes === 1) return 0;
    // In integers where that is possible: V8 calls the C library for the remainder of a double.
    const zone = (address - VMALLOC_START) * this.zonesPerByte;
    if (!(zone >= 0 && zone < INTEGER_ZONES))
      return (Math.floor(address / this.zoneSizeBytes) + this.zoneOffset) % nodes;
    const turn = (zone | 0) + this.firstNode;
    return nodeMask !== 0 ? turn & nodeMask : turn % nodes;
  }
}

/**
 * What the bits above 47 contribute to `(address / unit) % modulus`: the kernel divides 64-bit addresses, and a modulus
 * that is not a power of two sees them.
 */
export function offsetModulo(unit: number, modulus: number): number {
  return Number((UPPER_HALF_OFFSET / BigInt(unit)) % BigInt(modulus));
}
