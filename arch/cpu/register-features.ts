/** Which bits of control registers a CPU has, by its features (Intel SDM vol. 3A, 2.5; AMD APM vol. 2, 3.1). */
import * as bits from "../isa/register-bits.ts";
import type { CpuFeatures } from "../presets/preset.ts";

/** CR4 bits without a feature flag here: VME, PVI, TSD, DE, PSE, PAE, MCE, PCE, OSFXSR, OSXMMEXCPT, UMIP, FSGSBASE, OSXSAVE. */
const CR4_PLAIN = 0x5_0f7f;

/** All bits that may be 1 in CR4. */
export function cr4BitsOf(features: CpuFeatures): number {
  return (
    CR4_PLAIN +
    (features.pge ? bits.CR4_PGE : 0) +
    (features.la57 ? bits.CR4_LA57 : 0) +
    (features.pcid ? bits.CR4_PCIDE : 0) +
    (features.smep ? bits.CR4_SMEP : 0) +
    (features.smap ? bits.CR4_SMAP : 0) +
    (features.pku ? bits.CR4_PKE : 0) +
    (features.shadowStack ? bits.CR4_CET : 0) +
    (features.pks ? bits.CR4_PKS : 0) +
    (features.lass ? bits.CR4_LASS : 0) +
    (features.lam ? bits.CR4_LAM_SUP : 0)
  );
}

/** All bits that may be 1 in IA32_EFER. */
export function eferBitsOf(features: CpuFeatures): number {
  return (
    bits.EFER_SCE +
    bits.EFER_LME +
    bits.EFER_LMA +
    (features.nx ? bits.EFER_NXE : 0) +
    (features.tce ? bits.EFER_TCE : 0) +
    (features.uai ? bits.EFER_UAIE : 0)
  );
}
