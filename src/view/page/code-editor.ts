/** The editor of the page: CodeMirror with TypeScript, names of the program completed, and the line of a mistake marked. */
import { type CompletionContext, type CompletionResult, completeFromList } from "@codemirror/autocomplete";
import { javascript, typescriptLanguage } from "@codemirror/lang-javascript";
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, setDiagnostics } from "@codemirror/lint";
import { EditorView, keymap } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { basicSetup } from "codemirror";
import type { Completions } from "./own-source.ts";

/** Colours of the page's scheme. */
const COLOURS = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword], color: "var(--accent)", fontWeight: "600" },
  { tag: [tags.comment], color: "var(--quiet)", fontStyle: "italic" },
  { tag: [tags.string, tags.number, tags.bool, tags.null], color: "var(--stale-text)" },
  { tag: [tags.typeName, tags.variableName, tags.propertyName], color: "var(--text)" },
]);

/**
 * Opens an editor.
 * @param run what Ctrl-Enter does
 * @param names what is completed; null as long as it is not known
 */
export function openEditor(parent: HTMLElement, source: string, run: () => void, names: () => Completions | null) {
  const view = new EditorView({
    parent,
    doc: source,
    extensions: [
      keymap.of([
        {
          key: "Mod-Enter",
          run: () => {
            run();
            return true;
          },
        },
      ]),
      // Before the basic setup's own colours, which know no dark scheme.
      syntaxHighlighting(COLOURS),
      basicSetup,
      javascript({ typescript: true }),
      typescriptLanguage.data.of({ autocomplete: (context: CompletionContext) => complete(context, names()) }),
      EditorView.contentAttributes.of({ "aria-label": "Workload in TypeScript" }),
      EditorView.theme({
        "&": { fontSize: "13px", maxHeight: "340px", backgroundColor: "var(--panel)", color: "var(--text)" },
        ".cm-scroller": { fontFamily: 'ui-monospace, "DejaVu Sans Mono", monospace' },
        ".cm-gutters": { backgroundColor: "var(--panel-deep)", color: "var(--quiet)", border: "none" },
        ".cm-activeLine, .cm-activeLineGutter": {
          backgroundColor: "color-mix(in srgb, var(--accent) 12%, transparent)",
        },
        "&.cm-focused .cm-cursor": { borderLeftColor: "var(--text)" },
        "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
          background: "color-mix(in srgb, var(--accent) 35%, transparent)",
        },
        ".cm-tooltip": { backgroundColor: "var(--panel)", color: "var(--text)", border: "1px solid var(--line)" },
      }),
    ],
  });
  return {
    source: (): string => view.state.doc.toString(),
    replace: (text: string): void => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    mark: (line: number | null, message: string): void => {
      const found: Diagnostic[] = [];
      if (line !== null && line >= 1 && line <= view.state.doc.lines) {
        const { from, to } = view.state.doc.line(line);
        found.push({ from, to, severity: "error", message });
      }
      view.dispatch(setDiagnostics(view.state, found));
    },
  };
}

/** Members of `thread.` and of `kernel.`, and within an import what there is to import. */
function complete(context: CompletionContext, names: Completions | null): CompletionResult | null {
  const member = context.matchBefore(/\b(thread|kernel)\.\w*/);
  if (names === null) return null;
  if (member !== null) {
    const [object] = member.text.split(".");
    const options = names[object as "thread" | "kernel"].map((label) => ({ label, type: "method" }));
    return { from: member.from + object.length + 1, options, validFor: /^\w*$/ };
  }
  const line = context.state.doc.lineAt(context.pos);
  if (!/^\s*import\b/.test(line.text)) return null;
  return completeFromList(names.imports.map((label) => ({ label, type: "function" })))(
    context,
  ) as CompletionResult | null;
}
