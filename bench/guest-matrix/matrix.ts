/** The two matrices as numbered cases under numbered settings, so that a sample is drawn and shared out of each in the same way. */
import { allSettings, CASES_PER_SETTING, caseAt, emptyCase, type Setting } from "./cases.ts";
import { allPointerSettings, emptyPointerCase, POINTER_CASES_PER_SETTING, pointerCaseAt } from "./pointer-cases.ts";
import { CaseRunner } from "./run-case.ts";
import { PointerCaseRunner } from "./run-pointer-case.ts";

/** Whose CPU. */
export type Vendor = Setting["vendor"];

/** One matrix on a CPU of one vendor. */
export interface Matrix {
  /** How many settings it has, and how many cases under each. */
  readonly settings: number;
  readonly casesPerSetting: number;
  /** Puts the CPU into a setting. */
  readonly use: (setting: number) => void;
  /** Runs a case under it; null when all is as the model expects, else what was not. */
  readonly run: (index: number) => string | null;
}

/** The matrix of rights of both dimensions, or that of pointers. */
export function matrixOf(vendor: Vendor, pointers: boolean): Matrix {
  return pointers ? pointerMatrix(vendor) : rightsMatrix(vendor);
}

function rightsMatrix(vendor: Vendor): Matrix {
  const settings = allSettings(vendor);
  const runner = new CaseRunner(vendor);
  const each = emptyCase();
  return {
    settings: settings.length,
    casesPerSetting: CASES_PER_SETTING,
    use: (setting) => runner.use(settings[setting]),
    run(index) {
      caseAt(index, each);
      return runner.run(each);
    },
  };
}

function pointerMatrix(vendor: Vendor): Matrix {
  const settings = allPointerSettings(vendor);
  const runner = new PointerCaseRunner(vendor);
  const each = emptyPointerCase();
  return {
    settings: settings.length,
    casesPerSetting: POINTER_CASES_PER_SETTING,
    use: (setting) => runner.use(settings[setting]),
    run(index) {
      pointerCaseAt(index, each);
      return runner.run(each);
    },
  };
}
