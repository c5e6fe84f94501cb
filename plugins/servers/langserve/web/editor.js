// The editor of the page, made of CodeMirror's parts. `build.sh` bundles it to static/editor.js.

import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { go } from "@codemirror/lang-go";
import { javascript } from "@codemirror/lang-javascript";
import { python } from "@codemirror/lang-python";
import { bracketMatching, HighlightStyle, indentOnInput, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const LANGUAGES = {
  bash: () => StreamLanguage.define(shell),
  go,
  javascript,
  python,
  typescript: () => javascript({ typescript: true }),
};

// Colours are the page's own variables, so that light and dark are decided in one place.
const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: "var(--code-keyword)" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: "var(--code-string)" },
  { tag: [tags.number, tags.bool, tags.null, tags.atom], color: "var(--code-number)" },
  { tag: [tags.comment, tags.meta], color: "var(--code-comment)", fontStyle: "italic" },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.className, tags.typeName],
    color: "var(--code-name)" },
]);

const look = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "14px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55" },
  ".cm-content": { caretColor: "var(--accent)", padding: "10px 0" },
  ".cm-gutters": { backgroundColor: "var(--surface)", color: "var(--faint)", border: "none", paddingLeft: "6px" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--line-active)" },
  ".cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--selection) !important" },
  ".cm-panels": { backgroundColor: "var(--raised)", color: "var(--text)" },
  ".cm-panels input, .cm-panels button": { color: "var(--text)", backgroundImage: "none", backgroundColor: "var(--surface)",
    border: "1px solid var(--border)", borderRadius: "4px" },
  ".cm-searchMatch": { backgroundColor: "var(--selection)" },
});

/**
 * Makes an editor.
 * @param {HTMLElement} parent Where it is put.
 * @param {{nonce: string, label: string, describedBy: string, onRun: () => void}} options The nonce of the page's
 *   policy for the styles that it makes, its name for those who do not see it, and what happens on Ctrl-Enter.
 * @returns {{text: string, language: string, focus: () => void}} Its text and language can be read and set.
 */
export function makeEditor(parent, { nonce, label, describedBy, onRun }) {
  const syntax = new Compartment();
  let language = "";
  const run = () => {
    onRun();
    return true;
  };
  const view = new EditorView({
    parent,
    state: EditorState.create({
      extensions: [
        EditorView.cspNonce.of(nonce),
        EditorView.contentAttributes.of({ "aria-label": label, "aria-describedby": describedBy }),
        lineNumbers(), history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(),
        highlightActiveLine(), highlightSelectionMatches(), search({ top: true }),
        keymap.of([
          { key: "Mod-Enter", run }, ...closeBracketsKeymap, ...defaultKeymap.filter(({ key }) => key !== "Mod-Enter"),
          // Whoever moves by keyboard gets out with Escape, then Tab: CodeMirror sees to that by itself.
          ...historyKeymap, ...searchKeymap, indentWithTab,
        ]),
        syntax.of([]), syntaxHighlighting(colours), look,
      ],
    }),
  });
  return {
    get text() { return view.state.doc.toString(); },
    set text(insert) { view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert } }); },
    get language() { return language; },
    set language(name) {
      language = name;
      view.dispatch({ effects: syntax.reconfigure(Object.hasOwn(LANGUAGES, name) ? LANGUAGES[name]() : []) });
    },
    focus() { view.focus(); },
  };
}
