/** A part of a view that scrolls on its own. */
import type { ComponentChildren } from "preact";

/** `label` names it for screen readers. */
export function Scroll({ label, children }: { readonly label: string; readonly children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: who has no mouse scrolls it with the keys, and must get there for that.
    <section class="scroll" tabIndex={0} aria-label={label}>
      {children}
    </section>
  );
}
