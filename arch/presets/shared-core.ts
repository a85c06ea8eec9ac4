/**
 * What two hardware threads of a core get done when both execute, beside one that has the core for itself: what people measure as the gain of
 * Hyper-Threading or SMT. It differs from program to program; this is the mean of many, as none of kernel code was found.
 */
import { allTakenOver, assumed, cores, type Figure } from "./figure.ts";

/** How much of a core its threads get. */
export interface SharedCorePreset {
  /** What two threads that execute get done, in cores: from 1 (each has half) to 2 (neither slows the other). */
  readonly throughput: Figure<"cores">;
}

/** Intel's parts. */
export const INTEL_SHARED_CORE: SharedCorePreset = {
  throughput: cores(
    1.3,
    assumed(
      "Intel: up to 30 % more by Hyper-Threading; Vianney (IBM developerWorks, January 2003) measured 30 % for multithreaded programs of Linux 2.4.19",
    ),
  ),
};

/** Zen 2. */
export const ZEN2_SHARED_CORE: SharedCorePreset = {
  throughput: cores(
    1.36,
    assumed("zen.looncraz.net measured 35.8 % more on Zen, on average of multithreaded programs"),
  ),
};

/** Zen 3. */
export const ZEN3_SHARED_CORE: SharedCorePreset = {
  throughput: cores(
    1.22,
    assumed("22 % more on average of the multithreaded programs of anandtech.com 16261 (Ryzen 9 5950X); remembered"),
  ),
};

/** Zen 4 and Zen 5. */
export const ZEN4_SHARED_CORE: SharedCorePreset = allTakenOver(ZEN3_SHARED_CORE, "Zen 3");
