/**
 * A guest with five levels of page tables and LAM_U57, below it EPT with accessed and dirty flags. A store through a tagged 57-bit pointer needs the
 * hypervisor, then finds no writable page, then succeeds: what each is told, and which flags both dimensions have then.
 *
 *     $ npx jiti examples/two-dimensions.ts
 *     EPT violation (write|linear|translated|user|RW) at guest-physical 0x40000123, linear 0x7f123456789123 on CPU 0
 *     qualification 0x782, exit reason 48; guest's PTE A D; EPT -
 *     #PF(P|W|U) at 0x7f123456789123 on CPU 0; guest's PTE - -; EPT -
 *     0x2a; guest's PTE A D; EPT A D
 *     #GP(0): 0xfc7f123456789123 is not canonical in 57 bits
 */
import {
  CR4_LA57,
  CR4_PAE,
  EPT_ACCESSED,
  EPT_DIRTY,
  EPT_EXECUTE,
  EPT_MEMORY_TYPE_SHIFT,
  EPT_PAGE_SIZE,
  EPT_READ,
  EPT_WRITE,
  EptViolation,
  encodeEptp,
  GeneralProtectionFault,
  Machine,
  PageFault,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
  Vcpu,
} from "mmulab/arch";

const { cpus, memory } = new Machine({ memoryBytes: 2 ** 32, preset: "sapphire-rapids", features: { lam: true } });
const [cpu] = cpus;
const pointer = 0x007f_1234_5678_9123n;

// EPT of four levels from frame 1 on: the first GiB, with the guest's tables, as it is; the second has the page at frame 0x40000.
const rights = EPT_READ | EPT_WRITE | EPT_EXECUTE;
const writeBack = 6 << EPT_MEMORY_TYPE_SHIFT;
memory.writeWord(1, 0, (2 << 12) | rights);
memory.writeWord(2, 0, EPT_PAGE_SIZE | writeBack | rights);
memory.writeWord(2, 2 * 1, (3 << 12) | rights);
memory.writeWord(3, 2 * 0, (4 << 12) | rights);

// The guest's tables, PML5 to PT, are frames 0x10 to 0x14, which are the same in both dimensions. An entry is two words of 32 bits.
const indexOf = (level: number) => Number((pointer >> BigInt(3 + 9 * level)) & 511n);
for (let level = 5; level > 1; level--) {
  memory.writeWord(0x15 - level, 2 * indexOf(level), ((0x16 - level) << 12) | PTE_PRESENT | PTE_RW | PTE_USER);
}
const mapInGuest = (bits: number) => memory.writeWord(0x14, 2 * indexOf(1), (0x40000 << 12) | PTE_PRESENT | bits);
mapInGuest(PTE_RW | PTE_USER);

const vcpu = new Vcpu({
  id: 1, // VPID
  secondStage: { eptp: encodeEptp({ rootFrame: 1, levels: 4, accessedDirty: true }) },
  registers: { cr3: 0x10 << 12, cr4: CR4_PAE + CR4_LA57, lamUser: 1, cpl: 3 },
});

const flags = (word: number, accessed: number, dirty: number) =>
  `${(word & accessed) !== 0 ? "A" : "-"} ${(word & dirty) !== 0 ? "D" : "-"}`;
const guestFlags = () => flags(memory.readWord(0x14, 2 * indexOf(1)), PTE_ACCESSED, PTE_DIRTY);
const eptFlags = () => {
  const entry = memory.readWord(4, 0);
  return entry === 0 ? "-" : flags(entry, EPT_ACCESSED, EPT_DIRTY);
};

/** A store by the guest; what became of it, and of the flags. */
function store(address: bigint): string {
  cpu.enterGuest(vcpu);
  try {
    cpu.store(address, 1, 0x2a);
    const value = `0x${cpu.load(pointer, 1).toString(16)}`;
    cpu.exitGuest();
    return value;
  } catch (ending) {
    if (ending instanceof EptViolation) {
      // The CPU is in the host again.
      return `${ending.message}\nqualification 0x${ending.qualification.toString(16)}, exit reason ${ending.reason}`;
    }
    // Faults of the guest are its own; here the hypervisor takes the CPU back to look at them.
    cpu.exitGuest();
    if (!(ending instanceof PageFault || ending instanceof GeneralProtectionFault)) throw ending;
    return ending.message;
  }
}

const tag = 0x2an << 57n;
console.log(`${store(pointer | tag)}; guest's PTE ${guestFlags()}; EPT ${eptFlags()}`);
mapInGuest(PTE_USER);
console.log(`${store(pointer | tag)}; guest's PTE ${guestFlags()}; EPT ${eptFlags()}`);
// The hypervisor maps the page, as a hypervisor would at the violation; the guest makes its own writable.
memory.writeWord(4, 0, (0x40000 << 12) | writeBack | rights);
mapInGuest(PTE_RW | PTE_USER);
console.log(`${store(pointer | tag)}; guest's PTE ${guestFlags()}; EPT ${eptFlags()}`);
// Bit 63 chooses the supervisor's masking, which is off.
console.log(store(pointer | (1n << 63n) | (0x3en << 57n)));
